package node

import "github.com/parley-k8s/parley/framework/requirement"

// Requirements lists the chapter, family by family.
func Requirements() []requirement.Requirement {
	return []requirement.Requirement{
		criSocket(), criSocketPath(), sandboxes(), cniConfig(),
		addresses(), nodeToNode(), requiredPorts(), serviceProxy(), clocks(),
		kubeletToAPI(), apiToKubeletExec(), apiToKubeletLogs(), apiToKubeletAttach(),
		podToAPI(), apiToPodWebhook(),
	}
}
