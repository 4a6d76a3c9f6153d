// Package external is the chapter about how the outside reaches the cluster, and the cluster the outside.
package external
