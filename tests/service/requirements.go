package service

import "github.com/parley-k8s/parley/framework/requirement"

// Requirements lists the chapter, family by family.
func Requirements() []requirement.Requirement {
	return []requirement.Requirement{
		clusterIP("tcp"), clusterIP("udp"), clusterIPSCTP(), clusterIPFromNode(), clusterIPFromHostNetwork(), crossNamespace(),
		localEndpoint(), remoteEndpoint(), sourceIP(), udpUnconnected(), udpFragments(), largeTransfer(), sameSourcePort(),
		multiPort(), samePortTCPUDP(), targetPortNamed(), targetPortDiffers(), undeclaredPort(), closedTargetRefused(),
		reachesAll(), spreads(), sessionAffinity(), affinityTimeout(),
		internalPolicyLocal(), internalPolicyLocalNone(), trafficDistribution(distributions[0]), trafficDistribution(distributions[1]),
		noSelector(), noSelectorOutside(), hostNetworkEndpoint(),
		environment(), kubernetes(), dualStack(), ipFamilies(),
		headless(),
		hairpin(),
		noEndpointsRefused(),
		selectorChange(), labelChange(), readiness(), publishNotReady(), unreadyKeepsConnections(), connectionsSurviveJoin(), terminatingFallback(),
		stableIP(), rollingUpdate(), scaling(),
		udpStaleConntrack(), udpFirstEndpoint(),
		endpointSlices(), typeChanges(),
		deleted(), portChange(), recreated(),
	}
}
