// Package axis declares the ways in which the clusters of a matrix can differ, and reads a user's choice of them
// into columns: one column is one cluster, with at most one value of each axis.
//
// An axis is plain data, so a further one (the runtime, the OCI handler) is one more entry
// of All. It is applied to a run by the run's own flags, which each column's run is started with.
package axis
