package diagnose

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// resolvConf is the protocol of failures about a container's resolv.conf.
const resolvConf = "resolv.conf"

// clusterSearches is how many search domains ClusterFirst begins with: the namespace's, svc and the cluster domain; the node's own
// follow, and may differ.
const clusterSearches = 3

// podConfig is what the kubelet of a node tells a pod about names: one of the pods that are alike on every node.
type podConfig struct {
	node        string
	nameservers []string
	search      []string // the cluster's
}

// searchLists compares what the kubelets of the nodes write into resolv.conf, of pods that differ in nothing else, and says in what
// that of the asker's node differs from most others'. It is asked where the resolv.conf itself or a name that a search list
// completes is the matter; "" is no difference.
func (w *walk) searchLists(ctx context.Context) string {
	q := w.failure.Question
	if w.failure.Protocol != resolvConf && (q == nil || strings.HasSuffix(q.Name, ".")) {
		return ""
	}
	var all []podConfig
	for _, end := range w.env.Players.Ends(world.Everywhere) {
		got, err := end.File(ctx, wire.File{Do: "read", Path: "/etc/resolv.conf"})
		if err != nil || !got.Ok() {
			continue
		}
		one, err := readResolvConf(end, string(got.Data))
		if err != nil {
			continue
		}
		w.note("resolv.conf of a pod on %s: nameservers %v, search %v", one.node, one.nameservers, one.search)
		all = append(all, one)
	}
	return different(w.failure.From.Node, all)
}

func readResolvConf(end *requirement.End, text string) (podConfig, error) {
	c, err := dns.ClientConfigFromReader(strings.NewReader(text))
	if err != nil {
		return podConfig{}, err
	}
	return podConfig{end.Node, c.Servers, c.Search[:min(clusterSearches, len(c.Search))]}, nil
}

// different says in what the node's pods are told otherwise than those of most other nodes.
func different(node string, all []podConfig) string {
	var own *podConfig
	for i := range all {
		if all[i].node == node {
			own = &all[i]
		}
	}
	if own == nil {
		return ""
	}
	for _, part := range []struct {
		what string
		of   func(podConfig) []string
	}{
		{"the search domains", func(t podConfig) []string { return t.search }},
		{"the nameservers", func(t podConfig) []string { return t.nameservers }},
	} {
		alike, others := 0, map[string][]string{}
		for _, one := range all {
			if slices.Equal(part.of(one), part.of(*own)) {
				alike++
				continue
			}
			key := fmt.Sprint(part.of(one))
			others[key] = append(others[key], one.node)
		}
		most := ""
		for _, what := range slices.Sorted(maps.Keys(others)) {
			if most == "" || len(others[what]) > len(others[most]) {
				most = what
			}
		}
		// As many is enough: of two nodes that differ either may be the odd one, and both are named.
		if nodes := others[most]; len(nodes) >= max(1, alike) {
			return fmt.Sprintf("resolv.conf: the kubelet of %s gives its pods %s %v, those of %s give %s", node, part.what, part.of(*own),
				strings.Join(nodes, ", "), most)
		}
	}
	return ""
}
