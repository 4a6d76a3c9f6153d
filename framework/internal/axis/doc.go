// Package axis declares the ways in which the clusters of a matrix can differ, and reads a user's choice of them
// into columns: one column is one cluster, with at most one value of each axis. Columns that differ in a shared axis alone
// (the OCI handler) are judged one after the other on the same cluster: they are a group.
//
// An axis is one value in a file of its own, with all that is to be said about it: its flags and their help, its values with
// why one can't be had, its line in `parley doctor`, and what a value changes in the Spec of a cluster. A further axis is one
// more such file and one more entry of All; what it decides that no Spec has yet is a further field there.
package axis
