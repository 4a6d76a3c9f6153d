package external

import (
	"slices"

	"github.com/parley-k8s/parley/framework/requirement"
)

// Requirements lists the chapter, family by family.
func Requirements() []requirement.Requirement {
	return slices.Concat(nodePorts(), nodePortNumbers(), []requirement.Requirement{
		nodePortNoEndpoints(), nodePortSessionAffinity(),
		trafficPolicyLocal(), healthCheckNodePort(), externalIP(), egress(), portForward(),
	}, apiProxies(), loadBalancers(), ingresses(), []requirement.Requirement{gatewayHTTPRoute()})
}
