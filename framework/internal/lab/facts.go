package lab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/reports"
)

// ReportFacts are what is known of the cluster, as a report has it.
func (l *Lab) ReportFacts() []reports.Fact {
	f := l.Facts
	var families []string
	for _, family := range f.Families {
		families = append(families, string(family))
	}
	all := []reports.Fact{
		{Name: "Kubernetes", Value: f.Kubernetes},
		{Name: "CNI", Value: f.CNI},
		{Name: "proxy mode", Value: f.ProxyMode},
		{Name: "address families", Value: strings.Join(families, ", ")},
	}
	if f.NodeImage != "" {
		all = append(all, reports.Fact{Name: "node image", Value: f.NodeImage + " (" + f.NodeImageFrom + ")"})
	}
	if len(f.Nodes) > 0 {
		all = append(all, reports.Fact{Name: "runtime", Value: strings.Join(runtimesOf(f.Nodes), ", ")})
	}
	for _, n := range f.Nodes {
		all = append(all, reports.Fact{Name: "node " + n.Name, Value: fmt.Sprintf("%s, %s, %s, Linux %s, kubelet %s",
			n.Role, n.RuntimeVersion, n.OSImage, n.Kernel, n.Kubelet)})
	}
	return all
}

// runtimesOf are the runtimes that nodes report with their versions, such as containerd://2.4.2, each once.
func runtimesOf(nodes []cluster.Node) (all []string) {
	for _, n := range nodes {
		if !slices.Contains(all, n.RuntimeVersion) {
			all = append(all, n.RuntimeVersion)
		}
	}
	return all
}
