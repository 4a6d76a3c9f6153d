package service

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func noEndpointsRefused() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/no-endpoints-refused",
		Title: "A Service without endpoints refuses TCP and UDP at once.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/service.go",
			Says: "The upstream suite demands that a client of a Service without endpoints is refused (\"should be rejected when no endpoints exist\").",
		},
		Why: "While a deployment has no ready pod, a refusal lets clients and load balancers fail over at once; silence costs each of " +
			"them its whole time-out.",
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA},
		Services:  []world.Service{world.Empty},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			// A client that nobody else has refused: the kernel limits the ICMP errors that it sends to one address to about
			// one a second (net.ipv4.icmp_ratelimit), and pods that poll refused Services use them up.
			client := env.Role(world.SiblingA)
			ip, err := virtualIP(env, world.Empty)
			if err != nil {
				return err
			}
			for i, protocol := range bothProtocols {
				talk := exchange.Talk{From: client, Network: protocol, Dial: requirement.At(ip, world.ServicePort),
					Source: fmt.Sprintf(":%d", env.Port(i))}
				if err := exchange.Rejected(ctx, env, talk); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "what goes to its cluster IP over TCP dropped instead",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.SiblingA, fault.DropToService("prerouting", world.Empty, "tcp")),
				fault.InPodOf(world.SiblingA, fault.DropToService("output", world.Empty, "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says:  "what goes to its cluster IP over UDP dropped instead",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.OnNodeOf(world.SiblingA, fault.DropToService("prerouting", world.Empty, "udp"))}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		}},
	}
}
