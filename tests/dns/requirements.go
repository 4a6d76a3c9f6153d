package dns

import "github.com/parley-k8s/parley/framework/requirement"

// Requirements lists the chapter, family by family.
func Requirements() []requirement.Requirement {
	return []requirement.Requirement{
		serviceA(), serviceAAAA(), serviceSRV(), servicePTR(), kubernetesName(), noEndpoints(), anyCase(), schemaVersion(),
		nxdomain(), negativeSOA(), noData(), unknownType(),
		shortName(), namespaceName(), svcName(), fqdn(), undotted(), crossNamespace(),
		headlessAddresses(), headlessHostname(), headlessSRV(), headlessPTR(), headlessEmpty(), podRecord(),
		readyOnly(), publishNotReady(), externalName(), externalNameResolves(),
		externalNameFollows(), serviceRecreated(), serviceRemoved(), headlessFollows(),
		resolvConfClusterFirst(), resolvConfDefault(), resolvConfNone(), resolvConfMerged(), resolvConfHostNet(), resolvConfHostNetwork(),
		resolvConfLongSearch(),
		etcHosts(), etcHostsHostNetwork(), hostAliases(), hostAliasesHostNetwork(),
		overTCP(), largeAnswer(), truncation(), edns(),
		everyNode(), everyServer(), parallelPair(), newServiceLatency(), survivesReplacement(), upstream(),
	}
}
