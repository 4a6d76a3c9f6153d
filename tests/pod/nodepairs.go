package pod

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func nodePairs() requirement.Requirement {
	return requirement.Requirement{
		ID:     "pod/every-node-pair",
		Title:  "Pods on every ordered pair of nodes reach each other by pod IP, over TCP and UDP, and none is seen under another address.",
		Level:  requirement.Must,
		Clause: networkModel,
		Why: "Two nodes say little about the third: a tunnel that did not come up, a route that was not handed out or a firewall of one " +
			"machine breaks some pairs, often in one direction only.",
		Needs:     []requirement.Feature{requirement.TwoNodes},
		Roles:     []world.Role{world.Everywhere, world.Far},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			var translated error
			worked, err := sweep{
				clients: env.Roles(world.Everywhere), servers: env.Roles(world.Everywhere),
				pairs: func(client, server *requirement.End) bool { return client.Node != server.Node },
				see: func(client, server *requirement.End, protocol string, seen wire.Exchange) {
					if exchange.Addr(seen.Witness.Remote) != exchange.Addr(seen.Local) {
						translated = &requirement.Failure{Reason: requirement.Translated, From: client, To: server, Target: seen.Remote, Protocol: protocol,
							Expected: "the server to see the client's own address " + exchange.Addr(seen.Local).String(), Observed: "the client as " + seen.Witness.Remote}
					}
				},
			}.run(ctx, env)
			if err != nil {
				return err
			}
			env.Note("%s: %d conversations between %d nodes", env.Family, worked, len(env.Roles(world.Everywhere)))
			return translated
		},
		Control: requirement.Control{
			Says: "on one node, what it forwards to its pods dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.Far, fault.DropOwnPorts("forward", "tcp")),
				fault.InPodOf(world.Far, fault.DropOwnPorts("input", "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{
			{Says: "on one node, what it forwards to its pods over UDP dropped", Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.Far, fault.DropOwnPorts("forward", "udp")),
				fault.InPodOf(world.Far, fault.DropOwnPorts("input", "udp"))}},
				Red: []requirement.Reason{requirement.NoAnswer}},
			{Says: "what one node's pods send masqueraded as it leaves", Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.Far, fault.MasqueradeOwnPorts("tcp", "udp")),
				fault.InPodOf(world.Far, fault.TranslateSource("tcp", "udp"))}},
				Red: []requirement.Reason{requirement.Translated}},
		},
	}
}

func closedUDPPortRefuses() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/closed-udp-port-refuses",
		Title: "A closed UDP port of a pod answers with \"port unreachable\", from the same node and from another.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://www.rfc-editor.org/rfc/rfc1122#section-4.1.3.1",
			Says: "A datagram to a port without a listener is answered with ICMP port unreachable; for IPv6, RFC 4443, section 3.1, says the same.",
		},
		Why: "A resolver whose server is gone moves on at once on that word, and waits for seconds without it. Filters that drop all ICMP " +
			"swallow it.",
		Needs:     []requirement.Feature{requirement.TwoNodes},
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.Near, world.Far},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, role := range []world.Role{world.Near, world.Far} {
				server := env.Role(role)
				ip, err := env.IP(server)
				if err != nil {
					return err
				}
				if err := exchange.Rejected(ctx, env, exchange.Talk{From: env.Role(world.SiblingA), To: server, Network: "udp",
					Dial: requirement.At(ip, env.Port(0))}); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "what the pod says about closed ports dropped as it leaves",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Far, fault.DropUnreachable(world.SiblingA)),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says:  "what the pod on the same node says about closed ports dropped as it leaves",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Near, fault.DropUnreachable(world.SiblingA))}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		}},
	}
}
