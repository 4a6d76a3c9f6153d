// Package cluster makes kind clusters with kind's own library, joins existing ones, reads the facts of
// either, and removes what was made, also for owners that died without doing so.
//
// Everything that a run makes on the host carries the run's ID in its name: the node containers, one
// container network, the host outside the cluster, one nftables table (the egress guard) and one temporary
// folder, which holds the kubeconfig. So two runs never collide, and whatever a dead owner left is found by
// its name alone (Reap).
//
// kind's library runs the engine's command with this process's environment: Create therefore sets
// KIND_EXPERIMENTAL_*_NETWORK, and what the engine's private configuration needs, for the process's life.
package cluster
