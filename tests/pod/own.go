package pod

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func ownIP() requirement.Requirement {
	return requirement.Requirement{
		ID:        "pod/own-ip",
		Title:     "A pod reaches itself on its own pod IP, over TCP and UDP.",
		Level:     requirement.Must,
		Clause:    networkModel,
		Why:       "Clustered software dials every member of its list, itself included. It needs lo up and a local route for the pod IP.",
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			self := env.Role(world.SiblingA)
			ip, err := env.IP(self)
			if err != nil {
				return err
			}
			for i, protocol := range []string{"tcp", "udp"} {
				if _, err := exchange.Works(ctx, env, exchange.Talk{
					From: self, To: self, Network: protocol, NoNAT: true,
					Bind: requirement.At(env.Any(), env.Port(i)), Dial: requirement.At(ip, env.Port(i)),
				}); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "what goes to the pod IP dropped on lo",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.SiblingA, fault.Towards(world.SiblingA, fault.DropOnLoopback("tcp"))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says: "what goes to the pod IP over UDP dropped on lo",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.SiblingA, fault.Towards(world.SiblingA, fault.DropOnLoopback("udp")))}},
			Red: []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

func closedPortRefuses() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/closed-port-refuses",
		Title: "A closed port of a pod answers at once with a refusal, from the same node and from another.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://www.rfc-editor.org/rfc/rfc9293#section-3.5.2",
			Says: "A segment for a connection that does not exist is answered with a reset.",
		},
		Why: "Clients fail over in milliseconds on a refusal and in minutes on silence. Data paths that drop what no listener takes, " +
			"or that swallow the reset, turn every restart of a server into a hang.",
		Needs:     []requirement.Feature{requirement.TwoNodes},
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.Near, world.Far},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.SiblingA)
			for _, role := range []world.Role{world.Near, world.Far} {
				server := env.Role(role)
				ip, err := env.IP(server)
				if err != nil {
					return err
				}
				if err := exchange.Rejected(ctx, env, exchange.Talk{
					From: client, To: server, Network: "tcp", Dial: requirement.At(ip, env.Port(0)),
				}); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "the resets dropped as they leave the pod",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Far, fault.DropRST()),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says:  "the resets dropped as they leave the pod on the same node",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Near, fault.DropRST())}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		}},
	}
}
