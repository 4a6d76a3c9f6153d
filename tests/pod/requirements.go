package pod

import "github.com/parley-k8s/parley/framework/requirement"

// Requirements lists the chapter, family by family.
func Requirements() []requirement.Requirement {
	all := []requirement.Requirement{ipUnique()}
	all = append(all, reachability()...)
	return append(all, ownIP(), closedPortRefuses())
}
