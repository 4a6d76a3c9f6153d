package container

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

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
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return bothWays(ctx, env, loopback4, "tcp4", 32)
		},
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
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return bothWays(ctx, env, loopback4, "udp4", datagramSizes...)
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

func loopbackSCTP() requirement.Requirement {
	return requirement.Requirement{
		ID:    "container/loopback-sctp",
		Title: "An SCTP server bound to 127.0.0.1 in one container answers its sibling on localhost, in both directions.",
		Level: requirement.Optional,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/reference/networking/service-protocols/#protocol-sctp",
			Says: "Where the network plugin supports SCTP traffic, it can be used as TCP and UDP are.",
		},
		Why:     "Signalling software of telephone networks speaks SCTP also between the containers of a pod. Many kernels lack it, or load it late.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, end := range []*requirement.End{env.Role(world.SiblingA), env.Role(world.SiblingB)} {
				id, err := end.Identity(ctx)
				if err != nil {
					return fmt.Errorf("asking %s for its kernel: %w", end, err)
				}
				if gap, ok := id.Gaps["sctp"]; ok {
					return &requirement.Unsupported{Probed: fmt.Sprintf("an SCTP socket cannot be opened in %s: %s", end.Where(), gap)}
				}
			}
			return bothWays(ctx, env, loopback4, "sctp", 32)
		},
		Control: requirement.Control{
			Says: "SCTP dropped on lo in the pod's network namespace",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.SiblingA, fault.DropOnLoopback("sctp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func loopbackIPv6() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/loopback-ipv6",
		Title:  "Servers bound to ::1 in one container answer its sibling, over TCP and UDP, in both directions, where the pod's lo has ::1.",
		Level:  requirement.Optional,
		Clause: podsShareNetwork,
		Why: "Many programs try ::1 first when they are told localhost. lo has it wherever the kernel has IPv6, also in a cluster " +
			"of IPv4 pods, unless the runtime disabled it.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			a := env.Role(world.SiblingA)
			addrs, err := addressesOfLo(ctx, a)
			if err != nil {
				return err
			}
			if !slices.Contains(addrs, "::1/128") {
				return &requirement.Unsupported{Probed: fmt.Sprintf("lo of %s has %v", a.Where(), addrs)}
			}
			if err := bothWays(ctx, env, netip.IPv6Loopback(), "tcp6", 32); err != nil {
				return err
			}
			return bothWays(ctx, env, netip.IPv6Loopback(), "udp6", datagramSizes...)
		},
		Control: requirement.Control{
			Says:    "two pods in place of two containers of one",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingB: world.Near}},
			Red:     []requirement.Reason{requirement.Refused},
		},
		MoreControls: []requirement.Control{{
			Says: "UDP dropped on lo in the pod's network namespace",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.SiblingA, fault.DropOnLoopback("udp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

func addressesOfLo(ctx context.Context, end *requirement.End) ([]string, error) {
	id, err := end.Identity(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the interfaces of %s: %w", end, err)
	}
	for _, i := range id.Interfaces {
		if i.Name == "lo" {
			return i.Addrs, nil
		}
	}
	return nil, fmt.Errorf("%s has no interface lo", end)
}

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	// datagramSizes are one byte, what an Ethernet frame carries, and many times that.
	datagramSizes = []int{1, 1472, 32 * 1024}
)

func bothWays(ctx context.Context, env *requirement.Env, at netip.Addr, network string, sizes ...int) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	for i, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
		for _, size := range sizes {
			_, err := exchange.Works(ctx, env, exchange.Talk{
				From: way.from, To: way.to, Network: network, Bytes: size,
				Bind: requirement.At(at, env.Port(i)),
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
