// Package fault injects the live half of the negative controls: packet filters in the run's own
// nftables tables, in a pod's network namespace or on its node, and mounts in an agent's own mount
// namespace. Nothing of another component is edited, and all of it vanishes with the table or the pod.
package fault
