package service

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// noSlice is the variant whose Service is given no EndpointSlice.
const noSlice = "no-slice"

var withoutSelectors = requirement.Clause{
	URL: "https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors",
	Says: "A Service without a selector gets its endpoints from EndpointSlices that are written by hand, and then works like any other: for " +
		"backends outside of the cluster, in another namespace or in another cluster.",
}

func noSelector() requirement.Requirement {
	return byHand(requirement.Requirement{
		ID:    "service/no-selector",
		Title: "A ClusterIP Service without a selector leads to the pod whose IP stands in a hand-written EndpointSlice, from every node.",
		Why: "Operators that choose a leader, and multi-cluster controllers, write endpoints themselves. Proxies that take their backends from " +
			"pods instead of EndpointSlices know nothing of them.",
	}, world.WebNear, func(context.Context, *requirement.Env, *requirement.End) (int, error) { return world.TargetPort, nil })
}

func noSelectorOutside() requirement.Requirement {
	return byHand(requirement.Requirement{
		ID: "service/no-selector-outside",
		Title: "A ClusterIP Service without a selector leads to the address outside the cluster that stands in a hand-written EndpointSlice, " +
			"from every node.",
		Why: "An external database under a name and address of the cluster: the usual first step of a migration. It takes translation " +
			"and the way out of the cluster together, and the address that the outside sees must find back.",
		Needs: []requirement.Feature{requirement.OutsideHost},
	}, world.Outside, func(ctx context.Context, env *requirement.Env, server *requirement.End) (int, error) {
		return listens(ctx, env, server, "tcp", 0)
	})
}

// listens opens a server on the requirement's n-th port in the end until the check is over.
func listens(ctx context.Context, env *requirement.Env, server *requirement.End, protocol string, n int) (port int, err error) {
	opened, err := server.Listen(ctx, wire.Listen{Network: protocol, Address: requirement.At(env.Any(), env.Port(n))})
	if err == nil && !opened.Ok() {
		err = errors.New(opened.Errno.String())
	}
	if err != nil {
		return 0, fmt.Errorf("opening a %s server in %s: %w", protocol, server, err)
	}
	env.Defer(func(ctx context.Context) error {
		exchange.Release(ctx, server, opened.Handle)
		return nil
	})
	return env.Port(n), nil
}

func byHand(r requirement.Requirement, role world.Role, port func(context.Context, *requirement.Env, *requirement.End) (int, error)) requirement.Requirement {
	r.Level, r.Clause = requirement.Must, withoutSelectors
	r.Roles = []world.Role{world.Everywhere, role}
	r.PerFamily = true
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		server := env.Role(role)
		ip, ok := server.IP(env.Family)
		if !ok {
			return &requirement.Unsupported{Probed: fmt.Sprintf("the %s has no known %s address", server.Role, env.Family)}
		}
		target, err := port(ctx, env, server)
		if err != nil {
			return err
		}
		service, err := ownService(ctx, env, env.Namespace(), corev1.ServiceSpec{Ports: onePort(target), IPFamilies: []corev1.IPFamily{env.Family}})
		if err != nil {
			return err
		}
		if !env.Fixture(noSlice) {
			if _, err := handMade(ctx, env, service, slicePort("tcp", corev1.ProtocolTCP, target), ip); err != nil {
				return err
			}
		}
		return fromAll(ctx, env, env.Roles(world.Everywhere), server, service)
	}
	r.Control = requirement.Control{
		Says:    "the Service without the EndpointSlice",
		Variant: &requirement.Variant{Fixture: noSlice},
		// Refused once the proxy has heard of the Service, and before that whatever becomes of an address that nobody has: a
		// firewall on the way that prohibits it is EHOSTUNREACH over IPv4 and EACCES over IPv6.
		Red: []requirement.Reason{requirement.Refused, requirement.NoAnswer, requirement.Unreachable, requirement.Denied},
	}
	return r
}

// fromAll has every client reach the server through a Service that the check made, and notes how the server sees them.
func fromAll(ctx context.Context, env *requirement.Env, clients []*requirement.End, server *requirement.End, service requirement.ServiceSeen) error {
	vip, err := virtualIPOf(env, service)
	if err != nil {
		return err
	}
	for _, client := range clients {
		seen, err := exchange.Works(ctx, env, exchange.Talk{From: client, To: server, Network: "tcp", Dial: requirement.At(vip, world.ServicePort), Converging: true})
		if err != nil {
			return err
		}
		if saw := exchange.Addr(seen.Witness.Remote); saw != exchange.Addr(seen.Local) {
			env.Note("%s: %s saw the pod %s as %s", env.Family, server.Role, seen.Local, saw)
		}
	}
	return nil
}

func hostNetworkEndpoint() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/host-network-endpoint",
		Title:  "A ClusterIP Service whose endpoint is a hostNetwork pod is reached from pods on every node, that pod's own too.",
		Level:  requirement.Must,
		Clause: virtualIPs,
		Why: "The API server's own Service is such a one, and ingress controllers, node exporters and storage daemons. The endpoint has the node's " +
			"address: the packet ends in the node's own input rules instead of a pod, where firewalls stand.",
		Needs:       []requirement.Feature{requirement.NodeAgent},
		PodSecurity: "privileged",
		Roles:       []world.Role{world.Everywhere, world.HostNetwork},
		PerFamily:   true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			server := env.Role(world.HostNetwork)
			if _, ok := server.IP(env.Family); !ok {
				return &requirement.Unsupported{Probed: fmt.Sprintf("%s has no address of %s", server, env.Family)}
			}
			port, err := listens(ctx, env, server, "tcp", 0)
			if err != nil {
				return err
			}
			service, err := ownService(ctx, env, server.Namespace, corev1.ServiceSpec{Ports: onePort(port), IPFamilies: []corev1.IPFamily{env.Family},
				Selector: map[string]string{world.PodLabel: server.Pod}})
			if err != nil {
				return err
			}
			vip, err := virtualIPOf(env, service)
			if err != nil {
				return err
			}
			for _, client := range env.Roles(world.Everywhere) {
				if err := untilWorks(ctx, env, exchange.Talk{From: client, To: server, Network: "tcp", Dial: requirement.At(vip, world.ServicePort)}); err != nil {
					return err
				}
			}
			if err := env.Midway(ctx); err != nil {
				return err
			}
			return fromAll(ctx, env, env.Roles(world.Everywhere), server, service)
		},
		Control: requirement.Control{
			Says: "what comes to the endpoint dropped on its node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.OnNodeOf(world.HostNetwork, fault.DropOwnPorts("input", "tcp"))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}
