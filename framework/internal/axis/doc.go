// Package axis declares the ways in which the clusters of a matrix can differ, and reads a user's choice of them
// into columns: one column is one cluster, with at most one value of each axis. Columns that differ in a shared axis alone
// (the OCI handler) are judged one after the other on the same cluster: they are a group.
//
// An axis is plain data, so a further one is one more entry of All. It is applied to a run by the run's own flags, which each
// group's run is started with.
package axis
