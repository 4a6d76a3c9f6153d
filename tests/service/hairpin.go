package service

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func hairpin() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/hairpin",
		Title:  "A pod reaches itself through its own Service, over TCP and UDP.",
		Level:  requirement.Should,
		Clause: virtualIPs,
		Why: "A replica that calls its Service gets itself one time in n; without hairpin that call hangs, so it looks like a rare " +
			"time-out. Bridges without hairpin mode and proxies that do not masquerade it break it.",
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA},
		Services:  []world.Service{world.Hairpin},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			self := env.Role(world.SiblingA)
			ip, err := virtualIP(env, world.Hairpin)
			if err != nil {
				return err
			}
			for _, protocol := range bothProtocols {
				seen, err := exchange.Works(ctx, env, exchange.Talk{
					From: self, To: self, Network: protocol, Dial: requirement.At(ip, world.ServicePort),
				})
				if err != nil {
					return err
				}
				env.Note("%s %s: the pod saw its own hairpin come from %s", env.Family, protocol, seen.Witness.Remote)
			}
			return nil
		},
		Control: requirement.Control{
			Says: "packets that would leave by the interface they came in on dropped after translation",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.SiblingA, dropHairpin("tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says:  "datagrams that would leave by the interface they came in on dropped after translation",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.OnNodeOf(world.SiblingA, dropHairpin("udp"))}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

// dropHairpin matches translated packets from the pod to itself as its node forwards them: the only
// packets of this pod that go out by the interface that they came in on.
func dropHairpin(protocol string) fault.Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		ip, err := env.IP(env.Role(world.SiblingA))
		if err != nil {
			return nil, err
		}
		return []wire.Rule{{Hook: "forward", Priority: -10, Proto: protocol, From: ip.String(), To: ip.String(),
			ToPort: world.TargetPort, Status: "dnat", Do: "drop"}}, nil
	}
}
