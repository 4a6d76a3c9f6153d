package pod

import "github.com/parley-k8s/parley/framework/requirement"

// Requirements lists the chapter, family by family.
func Requirements() []requirement.Requirement {
	all := []requirement.Requirement{ipUnique(), ipAsSeenInside()}
	all = append(all, reachability()...)
	all = append(all, echoes()...)
	all = append(all, ownIP(), closedPortRefuses())
	all = append(all, nodeToLocalPods(), nodeToRemotePods(), podToNode(), hostNetwork(), nodePairs(), closedUDPPortRefuses())
	all = append(all, largeTransfer(), mtu(), udpFragments(), manyConnections(), halfClose(), idleConnection(), idleServiceConnection())
	all = append(all, hostPorts()...)
	return append(all, hostPortRelease(), newIPAfterRecreate(), safeSysctls(), dualStack())
}
