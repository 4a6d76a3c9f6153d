// Package evidence gathers what a person wants to see of a failure, in a folder of its own for each requirement: the
// failure and every step of its diagnosis, the pods, Services and endpoints at its ends, the events about them, the
// addresses, routes, rules and connections of the nodes that mention them, and what agents and components logged
// meanwhile. What can't be had is said in the file that would have had it.
package evidence
