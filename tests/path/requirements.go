package path

import "github.com/parley-k8s/parley/framework/requirement"

// Requirements lists the chapter, family by family.
func Requirements() []requirement.Requirement {
	return []requirement.Requirement{loss(), secondSYN(), slow(), halfClosedService(), sourcePortReuse(), firstEndpoint(), everyPod(), manyEgress()}
}

var networkModel = requirement.Clause{
	URL:  "https://kubernetes.io/docs/concepts/services-networking/#the-kubernetes-network-model",
	Says: "All pods can communicate with all other pods, whether they are on the same node or on different nodes.",
}
