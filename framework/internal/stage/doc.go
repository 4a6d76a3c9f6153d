// Package stage is the world that is deployed on a cluster for one column: its namespaces, Services and pods, which container plays
// which role, and the wait until all run. Each column gets a stage of its own.
package stage
