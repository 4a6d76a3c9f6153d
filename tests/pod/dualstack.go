package pod

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func dualStack() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/dual-stack",
		Title: "In a dual-stack cluster every pod has an IPv4 and an IPv6 address, and two pods reach each other on both, each direction.",
		Level: requirement.Optional,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/dual-stack/#supported-features",
			Says: "A dual-stack cluster assigns each pod a single IPv4 and a single IPv6 address, and routes pods' traffic over both " +
				"families.",
		},
		Why: "Clients try one family and then the other, so a broken one shows as slowness, on some machines, sometimes. A node that " +
			"joined with one address gives its pods one family.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.Near},
		Wants:   []world.Role{world.Far, world.Everywhere},
		Check:   checkDualStack,
		Control: requirement.Control{
			Says: "IPv6 dropped in one pod",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Near, fault.OnlyFamily(corev1.IPv6Protocol,
					fault.All(fault.DropOwnPorts("input", "tcp"), fault.DropOwnPorts("input", "udp")))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{
			{Says: "IPv4 dropped in one pod", Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Near, fault.OnlyFamily(corev1.IPv4Protocol,
					fault.All(fault.DropOwnPorts("input", "tcp"), fault.DropOwnPorts("input", "udp"))))}},
				Red: []requirement.Reason{requirement.NoAnswer}},
			{Says: "UDP dropped in one pod",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Near, fault.DropOwnPorts("input", "udp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}},
			{Says: "TCP dropped on its way back into the pod that asked first",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.SiblingA, fault.DropOwnPorts("input", "tcp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}},
		},
	}
}

var bothFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}

func checkDualStack(ctx context.Context, env *requirement.Env) error {
	a := env.Role(world.SiblingA)
	ends := distinct(env.Roles(world.SiblingA), env.Roles(world.Near), env.Roles(world.Everywhere))
	if err := isDualStack(ctx, env, ends); err != nil {
		return err
	}
	for _, end := range ends {
		for _, family := range bothFamilies {
			if _, ok := end.IP(family); !ok || len(end.IPs) != len(bothFamilies) {
				return &requirement.Failure{Reason: requirement.Missing, To: end, Target: "status.podIPs", Protocol: "pod status",
					Expected: "one IPv4 and one IPv6 address", Observed: fmt.Sprint(end.IPs),
					Again: "kubectl get pod -n " + end.Namespace + " " + end.Pod + " -o jsonpath={.status.podIPs}"}
			}
		}
	}
	port := 0
	for _, peer := range peersOf(env) {
		for _, way := range []struct{ from, to *requirement.End }{{a, peer}, {peer, a}} {
			for _, family := range bothFamilies {
				ip, _ := way.to.IP(family)
				for _, protocol := range []string{"tcp", "udp"} {
					if _, err := exchange.Works(ctx, env, exchange.Talk{From: way.from, To: way.to, Network: protocol, NoNAT: true,
						Bind: requirement.At(ip, env.Port(port)), Dial: requirement.At(ip, env.Port(port))}); err != nil {
						return err
					}
				}
				port++
			}
		}
	}
	return nil
}

// isDualStack says that nothing of the cluster has more than one family, where that is so.
func isDualStack(ctx context.Context, env *requirement.Env, ends []*requirement.End) error {
	for _, end := range ends {
		if len(end.IPs) > 1 {
			return nil
		}
	}
	nodes, err := env.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	for _, n := range nodes.Items {
		families := map[bool]bool{}
		for _, text := range n.Spec.PodCIDRs {
			if p, err := netip.ParsePrefix(text); err == nil {
				families[p.Addr().Is4()] = true
			}
		}
		if len(families) > 1 {
			return nil
		}
	}
	return &requirement.Unsupported{Probed: fmt.Sprintf("status.podIPs of %d pods and the podCIDRs of %d nodes: %s alone", len(ends), len(nodes.Items), env.Family)}
}
