package diagnose

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/addresses"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// secondOwners looks for addresses that two have: mine are of those that the failure is about, others of anyone's, which may be why
// a third is not reached. Both are "" where there are none.
func (w *walk) secondOwners(ctx context.Context) (mine, others string) {
	pods, err := w.env.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		w.note("whether an address has two owners was not looked at: listing the pods: %v", err)
		return "", ""
	}
	nodes, err := w.env.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		w.note("whether an address has two owners was not looked at: listing the nodes: %v", err)
		return "", ""
	}
	about := w.about()
	var own, foreign []string
	for _, s := range addresses.Of(pods.Items, nodes.Items).Shared() {
		forged := slices.ContainsFunc(s.Holders, func(h addresses.Holder) bool { return h.Node != nil && h.Node.Labels[requirement.RunLabel] != "" })
		switch {
		case s.Passing() || forged:
		case slices.Contains(about, s.IP):
			own = append(own, s.String())
		default:
			foreign = append(foreign, s.String())
		}
	}
	for _, line := range slices.Concat(own, foreign) {
		w.note("%s", line)
	}
	if len(own) == 0 {
		own = w.claimed(ctx)
	}
	return strings.Join(own, "; "), strings.Join(foreign, "; ")
}

// about are the addresses of all that the failure names, and of the endpoints behind what was dialled.
func (w *walk) about() (all []netip.Addr) {
	f := w.failure
	for _, end := range slices.Concat([]*requirement.End{f.From, f.To}, f.Behind) {
		if end != nil {
			all = append(all, end.IPs...)
		}
	}
	if ip, ok := Address(f.Target); ok {
		all = append(all, ip)
	}
	for _, e := range w.target.endpoints {
		all = append(all, e.at.Addr())
	}
	return all
}

// claimed are the pods' addresses of the failure that a node holds to be its own.
func (w *walk) claimed(ctx context.Context) (told []string) {
	f := w.failure
	for _, end := range slices.Concat([]*requirement.End{f.From, f.To}, f.Behind) {
		if end == nil || end.Pod == "" || end.HostNetwork {
			continue
		}
		ip, ok := end.IP(w.env.Family)
		if !ok {
			continue
		}
		for _, agent := range w.env.Players.Ends(world.Node) {
			seen, err := agent.InspectNetns(ctx, wire.InspectNetns{To: []string{ip.String()}})
			if probe.Either(seen.Errno, err) != nil || len(seen.Lookups) != 1 || seen.Lookups[0].Kind != "local" {
				continue
			}
			line := fmt.Sprintf("%s is the address of %s, and %s holds it to be its own", ip, end.Where(), agent.Node)
			w.note("%s", line)
			told = append(told, line)
		}
	}
	slices.Sort(told)
	return slices.Compact(told)
}

// wrongNeighbour says that the next hop's entry in a node's neighbour table has a link-layer address that its owner does not have: a
// permanent entry of a machine that is gone, or a second owner that answers. "" where it has, or the owner is not known.
func (w *walk) wrongNeighbour(ctx context.Context, l wire.RouteLookup) string {
	ip, err := netip.ParseAddr(l.Via)
	if l.Via == "" {
		ip, err = netip.ParseAddr(l.To)
	}
	owner := w.ownerOf(ip)
	if err != nil || l.Address == "" || owner == nil || owner.Agent == nil {
		return ""
	}
	id, err := owner.Identity(ctx)
	if err != nil {
		return ""
	}
	var own []string
	for _, i := range id.Interfaces {
		if i.MAC == l.Address {
			return ""
		}
		if slices.ContainsFunc(i.Addrs, func(text string) bool { p, err := netip.ParsePrefix(text); return err == nil && p.Addr() == ip }) {
			own = append(own, i.Name+" has "+i.MAC)
		}
	}
	if len(own) == 0 {
		return "" // the address is not on its interfaces: somebody else answers for it by design
	}
	name := owner.Node
	if !owner.HostNetwork {
		name = owner.Pod
	}
	return fmt.Sprintf("that entry (%s) is wrong: no interface of %s has the link-layer address %s (its %s)", l.State, name, l.Address, strings.Join(own, ", "))
}

// ownerOf is the node's agent or the end of the failure that has the address.
func (w *walk) ownerOf(ip netip.Addr) *requirement.End {
	f := w.failure
	for _, end := range slices.Concat(w.env.Players.Ends(world.Node), []*requirement.End{f.From, f.To}, f.Behind) {
		if end != nil && slices.Contains(end.IPs, ip) {
			return end
		}
	}
	return nil
}
