package pod

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func hostNetwork() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/host-network",
		Title: "A hostNetwork pod has its node's IP and network namespace, reaches pods on all nodes, and is reached by them.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/common/network/networking.go#L108",
			Says: "Conformance: from a hostNetwork pod, HTTP and UDP reach a pod on every node. Of spec.hostNetwork the API says that " +
				"the pod uses the host's network namespace.",
		},
		Why: "Ingress controllers, CNI agents and DNS caches run so. They have the node's ports and addresses, and their peers must " +
			"still find them.",
		PodSecurity: "privileged",
		PerNode:     true,
		Roles:       []world.Role{world.HostNetwork, world.Everywhere},
		Wants:       []world.Role{world.Node},
		PerFamily:   true,
		Check:       checkHostNetwork,
		Control: requirement.Control{
			Says: "what pods answer it over TCP dropped on its node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.HostNetwork, fault.DropFrom("input", "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{
			{Says: "what pods answer it over UDP dropped on its node",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.OnNodeOf(world.HostNetwork, fault.DropFrom("input", "udp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}},
			{Says: "what pods ask it dropped on its node",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.OnNodeOf(world.HostNetwork, fault.DropOwnPorts("input", "tcp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}},
			{Says: "an ordinary pod in its place",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.HostNetwork: world.Near}},
				Red:     []requirement.Reason{requirement.NotShared}},
			{Says: "an ordinary pod in place of the node, whose network namespace it must be in",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Node: world.Near}},
				Red:     []requirement.Reason{requirement.NotShared}, Wants: []world.Role{world.Node}},
		},
	}
}

func checkHostNetwork(ctx context.Context, env *requirement.Env) error {
	host := env.Role(world.HostNetwork)
	if err := hasNodesNetwork(ctx, env, host); err != nil {
		return err
	}
	all := func(_, _ *requirement.End) bool { return true }
	// One after the other: the two sweeps use the same ports.
	for _, way := range []sweep{
		{clients: []*requirement.End{host}, servers: env.Roles(world.Everywhere), pairs: all},
		{clients: env.Roles(world.Everywhere), servers: []*requirement.End{host}, pairs: all},
	} {
		if _, err := way.run(ctx, env); err != nil {
			return err
		}
	}
	return nil
}

func hasNodesNetwork(ctx context.Context, env *requirement.Env, host *requirement.End) error {
	pod, err := env.Kube.CoreV1().Pods(host.Namespace).Get(ctx, host.Pod, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the pod of %s: %w", host, err)
	}
	node, err := env.Kube.CoreV1().Nodes().Get(ctx, host.Node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading Node %s: %w", host.Node, err)
	}
	var addresses []string
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			addresses = append(addresses, a.Address)
		}
	}
	fail := func(what, expected, observed string) error {
		return &requirement.Failure{Reason: requirement.NotShared, To: host, Target: what, Protocol: "pod status", Expected: expected,
			Observed: observed, Again: "kubectl get pod -n " + host.Namespace + " " + host.Pod + " -o yaml; kubectl get node " + host.Node + " -o wide"}
	}
	for _, ip := range pod.Status.PodIPs {
		if !slices.Contains(addresses, ip.IP) {
			return fail("status.podIPs", fmt.Sprintf("one of the node's InternalIPs %v", addresses), ip.IP)
		}
	}
	for _, ip := range pod.Status.HostIPs {
		if !slices.Contains(addresses, ip.IP) {
			return fail("status.hostIPs", fmt.Sprintf("one of the node's InternalIPs %v", addresses), ip.IP)
		}
	}
	agent := env.OnNode(world.Node, host.Node)
	if agent == nil {
		env.Note("its network namespace was not compared with the node's: no agent is admitted there")
		return nil
	}
	own, err := host.Identity(ctx)
	if err != nil {
		return fmt.Errorf("reading the namespaces of %s: %w", host, err)
	}
	nodes, err := agent.Identity(ctx)
	if err != nil {
		return fmt.Errorf("reading the namespaces of %s: %w", agent, err)
	}
	if own.Namespaces["net"] != nodes.Namespaces["net"] {
		return fail("network namespace", fmt.Sprintf("the node's (inode %d)", nodes.Namespaces["net"]), fmt.Sprintf("inode %d", own.Namespaces["net"]))
	}
	return nil
}
