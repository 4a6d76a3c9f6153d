package container

import (
	"context"
	"net/netip"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

var podsShareNetwork = requirement.Clause{
	URL:  "https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking",
	Says: "The containers of a pod share its network namespace, IP address and ports, and find each other on localhost.",
}

func loopbackTCP() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/loopback-tcp",
		Title:  "A TCP server bound to 127.0.0.1 in one container answers its sibling on localhost, in both directions.",
		Level:  requirement.Must,
		Clause: podsShareNetwork,
		Why: "Sidecars, proxies and metrics exporters rest on it: they bind to loopback so that only their own pod reaches them. " +
			"It breaks when a runtime gives each container a network namespace of its own, or never brings lo up.",
		Roles: []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error { return bothWays(ctx, env, "tcp4", 32) },
		Control: requirement.Control{
			Says:    "two pods in place of two containers of one",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingB: world.Near}},
			Red:     []requirement.Reason{requirement.Refused},
		},
	}
}

func loopbackUDP() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/loopback-udp",
		Title:  "A UDP server bound to 127.0.0.1 in one container answers its sibling on localhost, each datagram whole, in both directions.",
		Level:  requirement.Must,
		Clause: podsShareNetwork,
		Why: "Agents for statistics, logs and DNS caches listen on loopback UDP. Datagrams of one byte, of an Ethernet frame's size " +
			"and of many times that must each arrive as one.",
		Roles: []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return bothWays(ctx, env, "udp4", 1, 1472, 32*1024)
		},
		Control: requirement.Control{
			Says: "UDP dropped on lo in the pod's network namespace",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.SiblingA, fault.DropOnLoopback("udp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func bothWays(ctx context.Context, env *requirement.Env, network string, sizes ...int) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	for i, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
		for _, size := range sizes {
			_, err := exchange.Works(ctx, env, exchange.Talk{
				From: way.from, To: way.to, Network: network, Bytes: size,
				Bind: requirement.At(netip.AddrFrom4([4]byte{127, 0, 0, 1}), env.Port(i)),
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
