package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// renewFraction and renewJitter are how a kubelet renews its Lease: every quarter of its duration, and up to 4 %
	// later (pkg/kubelet/kubelet.go and k8s.io/component-helpers/apimachinery/lease at v1.36.3).
	renewFraction = 0.25
	renewJitter   = 1.04
	// renewSlack is for the API server on a busy machine.
	renewSlack = 2 * time.Second
	// leaseHeld is longer than a Lease of the default 40 s goes without being renewed, the slack included.
	leaseHeld = 14 * time.Second
)

func kubeletToAPI() requirement.Requirement {
	return requirement.Requirement{
		ID:    "node/kubelet-to-api",
		Long:  true,
		Title: "Every node's kubelet renews its Lease while it is watched, within the interval that is due.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/architecture/nodes/#node-heartbeats",
			Says: "Each node has a Lease in the namespace kube-node-lease that its kubelet updates, every 10 seconds by default " +
				"and independently of the node's status.",
		},
		Why: "A node whose Lease ages is taken for dead and its pods are replaced. A kubelet that can't reach the API server, " +
			"or an expired client certificate, shows here first.",
		Roles: []world.Role{world.Everywhere},
		Check: leasesRenewed,
		Control: requirement.Control{
			Says:  "one kubelet held by SIGSTOP",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.SuspendKubelet(leaseHeld)}},
			Red:   []requirement.Reason{requirement.Stale},
			Alone: true, // every exec on that node hangs meanwhile
		},
	}
}

func leasesRenewed(ctx context.Context, env *requirement.Env) error {
	leases := env.Kube.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	list, err := leases.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the Leases of the nodes: %w", err)
	}
	first := map[string]*coordinationv1.Lease{}
	for i := range list.Items {
		first[list.Items[i].Name] = &list.Items[i]
	}
	waiting, bound := map[string]bool{}, time.Duration(0)
	for _, node := range leased(env) {
		lease := first[node]
		if lease == nil || lease.Spec.LeaseDurationSeconds == nil || lease.Spec.RenewTime == nil {
			return leaseFailure(requirement.Missing, node, "a Lease that says when it was renewed and how long it lasts", "none")
		}
		for _, f := range env.SickNodes(requirement.NodeRenewsNoLease) {
			if f.Node == node && !lease.Spec.RenewTime.After(f.Since) {
				failure := leaseFailure(requirement.Stale, node, "its Lease to be renewed", f.String()) // it was watched before
				failure.Final = requirement.SickIsFinal
				return failure
			}
		}
		waiting[node] = true
		interval := time.Duration(float64(*lease.Spec.LeaseDurationSeconds) * renewFraction * renewJitter * float64(time.Second))
		bound = max(bound, interval+renewSlack)
	}

	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	watch, err := leases.Watch(bounded, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return fmt.Errorf("watching the Leases of the nodes: %w", err)
	}
	defer watch.Stop()
	start := time.Now()
	for len(waiting) > 0 {
		select {
		case event, open := <-watch.ResultChan():
			if !open && bounded.Err() == nil {
				return fmt.Errorf("watching the Leases of the nodes: the watch ended after %s", time.Since(start).Round(time.Millisecond))
			}
			lease, ok := event.Object.(*coordinationv1.Lease)
			if ok && lease.Spec.RenewTime != nil && first[lease.Name] != nil && lease.Spec.RenewTime.After(first[lease.Name].Spec.RenewTime.Time) {
				delete(waiting, lease.Name)
			}
		case <-bounded.Done():
		}
		if bounded.Err() == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		for _, node := range slices.Sorted(maps.Keys(waiting)) {
			observed := "no renewal after that of " + first[node].Spec.RenewTime.UTC().Format(time.RFC3339)
			for _, f := range env.SickNodes() {
				if f.Node == node {
					observed += "; " + f.String()
				}
			}
			return leaseFailure(requirement.Stale, node, fmt.Sprintf("its Lease to be renewed within %s", bound.Round(100*time.Millisecond)), observed)
		}
	}
	env.Note("all %d Leases were renewed within %s; %s was allowed", len(leased(env)),
		time.Since(start).Round(100*time.Millisecond), bound.Round(100*time.Millisecond))
	return nil
}

// leased are the nodes whose Leases are watched: those that pods of the run are on, and those that are too sick to take any.
func leased(env *requirement.Env) (nodes []string) {
	for _, end := range env.Roles(world.Everywhere) {
		nodes = append(nodes, end.Node)
	}
	for _, f := range env.SickNodes() {
		if f.LeftOut && !slices.Contains(nodes, f.Node) {
			nodes = append(nodes, f.Node)
		}
	}
	return nodes
}

func leaseFailure(reason requirement.Reason, node, expected, observed string) *requirement.Failure {
	return &requirement.Failure{Reason: reason, Target: "kubelet of node " + node, Protocol: "Lease", Expected: expected, Observed: observed,
		Again: "kubectl get lease -n " + corev1.NamespaceNodeLease + " " + node + " -w"}
}
