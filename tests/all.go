package tests

import (
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/container"
	"github.com/parley-k8s/parley/tests/dns"
	"github.com/parley-k8s/parley/tests/external"
	"github.com/parley-k8s/parley/tests/node"
	"github.com/parley-k8s/parley/tests/path"
	"github.com/parley-k8s/parley/tests/pod"
	"github.com/parley-k8s/parley/tests/service"
)

// Chapters is the one list of chapters, each with its requirements.
func Chapters() []requirement.Chapter {
	return []requirement.Chapter{
		{Name: "path", Judged: requirement.PerCluster, Requirements: path.Requirements(),
			Says: "what the paths between nodes and to Services lose, delay and forget, in numbers"},
		{Name: "container", Judged: requirement.PerHandler, Requirements: container.Requirements(),
			Says: "what containers of one pod share, and what they must not share with anybody else"},
		{Name: "pod", Judged: requirement.PerHandler, Requirements: pod.Requirements(),
			Says: "how pods reach each other and themselves by their own addresses, on one node and across nodes"},
		{Name: "service", Judged: requirement.PerHandler, Requirements: service.Requirements(),
			Says: "how the virtual addresses of Services find their endpoints"},
		{Name: "dns", Judged: requirement.PerHandler, Requirements: dns.Requirements(),
			Says: "how names of Services and pods resolve"},
		{Name: "external", Judged: requirement.PerCluster, Requirements: external.Requirements(),
			Says: "how the outside reaches the cluster, and the cluster the outside"},
		{Name: "node", Judged: requirement.PerCluster, Requirements: node.Requirements(),
			Says: "how nodes, their container runtimes and the control plane talk"},
	}
}

// All are the requirements, chapter by chapter.
func All() []requirement.Requirement { return requirement.AllOf(Chapters()) }
