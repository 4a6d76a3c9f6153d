package tests

import (
	"slices"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/container"
	"github.com/parley-k8s/parley/tests/dns"
	"github.com/parley-k8s/parley/tests/external"
	"github.com/parley-k8s/parley/tests/node"
	"github.com/parley-k8s/parley/tests/pod"
	"github.com/parley-k8s/parley/tests/service"
)

// All is the one list of requirements, chapter by chapter.
func All() []requirement.Requirement {
	return slices.Concat(
		container.Requirements(),
		pod.Requirements(),
		service.Requirements(),
		dns.Requirements(),
		external.Requirements(),
		node.Requirements(),
	)
}
