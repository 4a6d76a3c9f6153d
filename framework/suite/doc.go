// Package suite runs requirements against a cluster: it finds or makes the cluster, applies the world,
// judges, proves, reports, and removes what was made, whatever ends the run.
package suite
