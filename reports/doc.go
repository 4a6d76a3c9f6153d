// Package reports has the result of a run of Parley as plain versioned data, and its writers: a JSON or YAML
// conformance report, JUnit for a CI server, a summary for a terminal, and comparisons of several clusters.
//
// It imports nothing else of Parley, so another program can read a report, compare two of them or write a view of its own. Text that came from a network is shown with its control characters escaped.
package reports
