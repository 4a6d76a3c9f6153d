// Package reports is what a run of Parley found out, as plain versioned data, and the writers that show it: a JSON
// or YAML conformance report, JUnit for a CI server, and a summary for a terminal.
//
// It knows the result model only and imports nothing else of Parley, so another program can read a report, compare
// two of them or write its own view. Text that came from a network is shown with its control characters escaped.
package reports
