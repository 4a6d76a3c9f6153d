// Package nodehealth says which nodes of a cluster can't be judged like the others, and why: by what their Node objects say, by the
// Leases that their kubelets renew, and by how the pods on them come up beside those on other nodes.
package nodehealth

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/framework/requirement"
)

// Takes says how a cluster's nodes stand to a run's pods.
type Takes struct {
	// Ordinary says whether the run's pods tolerate all of the node's taints.
	Ordinary func(*corev1.Node) bool
	// Architectures are those that the agent is built for.
	Architectures []string
}

// Survey says of each node what its object shows. Nodes that a run forged are left out.
func Survey(nodes []corev1.Node, takes Takes) (found []requirement.NodeFinding) {
	owners := map[string][]string{}
	for i := range nodes {
		for _, ip := range InternalIPs(&nodes[i]) {
			if !forged(&nodes[i]) {
				owners[ip] = append(owners[ip], nodes[i].Name)
			}
		}
	}
	for i := range nodes {
		n := &nodes[i]
		if forged(n) {
			continue
		}
		if f, ok := kept(n, takes); ok {
			found = append(found, f)
		}
		for _, ip := range InternalIPs(n) {
			others := slices.DeleteFunc(slices.Clone(owners[ip]), func(o string) bool { return o == n.Name })
			if len(others) > 0 {
				found = append(found, requirement.NodeFinding{Node: n.Name, State: requirement.NodeSharesAddress, Sick: true,
					Said: fmt.Sprintf("status.addresses has InternalIP %s, which %s has too: the API server may reach the other's kubelet", ip, strings.Join(others, " and "))})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b requirement.NodeFinding) int { return cmp.Compare(a.Node, b.Node) })
	return found
}

// kept says why the node takes none of the run's pods; false where it takes them.
func kept(n *corev1.Node, takes Takes) (requirement.NodeFinding, bool) {
	f := requirement.NodeFinding{Node: n.Name, LeftOut: true}
	os, arch := n.Status.NodeInfo.OperatingSystem, n.Status.NodeInfo.Architecture
	ready := slices.IndexFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
	switch {
	case ready < 0:
		f.State, f.Sick, f.Said = requirement.NodeNotReady, true, "it has no condition Ready: no kubelet has told of it yet"
		f.Since = n.CreationTimestamp.Time
	case n.Status.Conditions[ready].Status != corev1.ConditionTrue:
		c := n.Status.Conditions[ready]
		f.State, f.Sick, f.Since = requirement.NodeNotReady, true, c.LastTransitionTime.Time
		f.Said = fmt.Sprintf("condition Ready is %s, %s: %q", c.Status, c.Reason, c.Message)
	case os != "" && os != "linux" || arch != "" && !slices.Contains(takes.Architectures, arch):
		f.State, f.Said = requirement.NodeOtherPlatform, fmt.Sprintf("it is %s/%s, and the agent is built for linux on %s", os, arch, strings.Join(takes.Architectures, ", "))
	case takes.Ordinary(n):
		return f, false
	case n.Spec.Unschedulable:
		f.State, f.Said, f.Since = requirement.NodeCordoned, "spec.unschedulable is set"+besides(n), taintedSince(n)
	default:
		f.State, f.Said, f.Since = requirement.NodeTainted, "ordinary pods don't tolerate "+strings.Join(keeps(n), ", "), taintedSince(n)
	}
	return f, true
}

func besides(n *corev1.Node) string {
	others := slices.DeleteFunc(keeps(n), func(t string) bool { return strings.HasPrefix(t, corev1.TaintNodeUnschedulable) })
	if len(others) == 0 {
		return ""
	}
	return ", beside " + strings.Join(others, ", ")
}

// keeps are the taints that keep pods away.
func keeps(n *corev1.Node) (all []string) {
	for _, t := range n.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule {
			all = append(all, t.ToString())
		}
	}
	return all
}

func taintedSince(n *corev1.Node) (since time.Time) {
	for _, t := range n.Spec.Taints {
		if t.TimeAdded != nil && (since.IsZero() || t.TimeAdded.Time.Before(since)) {
			since = t.TimeAdded.Time
		}
	}
	return since
}

// InternalIPs are the node's addresses of that type.
func InternalIPs(n *corev1.Node) (ips []string) {
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			ips = append(ips, a.Address)
		}
	}
	return ips
}

func forged(n *corev1.Node) bool { return n.Labels[requirement.RunLabel] != "" }
