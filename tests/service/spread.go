package service

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/chance"
	"github.com/parley-k8s/parley/tests/internal/draw"
)

// leakMissed ends the sentence on how large a sample is.
var leakMissed = fmt.Sprintf("one connection in %d that goes elsewhere is missed with a probability under one in a billion (%d connections from each node).",
	int(1/draw.LeakShare), draw.Leaks())

// reachesAll judges uniform draws wrong with a probability of at most chance.FalseAlarm.
func reachesAll() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/reaches-all",
		Title:  "From every node, new connections to a ClusterIP Service reach each of its ready endpoints, over TCP and UDP.",
		Level:  requirement.Must,
		Clause: virtualIPs,
		Why: "One endpoint that one node can't reach fails one request in n from there: retries hide it and averages drown it. Once the Service is " +
			"known, one sample is drawn and judged once. It is so large that a healthy proxy that draws at random misses an endpoint with a " +
			"probability under one in a billion, and that " + leakMissed,
		Roles:     []world.Role{world.Everywhere, world.Replica},
		Services:  []world.Service{world.EveryReplica},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ends, nodes := replicas(env), len(env.Roles(world.Everywhere))
			count := max(draw.Leaks(), chance.DrawsToSee(len(ends), chance.FalseAlarm/float64(nodes*len(bothProtocols))))
			err := sampling{service: env.Service(world.EveryReplica), protocols: bothProtocols, ends: toAll(ends), take: atOnceOf(count),
				judge: func(s draw.Sample, ends []*requirement.End, judgements int) error {
					if err := s.Among(ends, judgements); err != nil {
						return err
					}
					return s.Each(ends)
				}}.run(ctx, env)
			if err == nil {
				env.Note("%s: %d connections from each of %d nodes over each protocol, to %d endpoints", env.Family, count, nodes, len(ends))
			}
			return err
		},
		Control: requirement.Control{
			Says: "what comes to one endpoint of the Service dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Replica, func(context.Context, *requirement.Env) ([]wire.Rule, error) {
					// No other requirement has this port.
					return []wire.Rule{{Hook: "input", Priority: fault.BeforeAll, Proto: "tcp", ToPort: world.EveryPort, Do: "drop"}}, nil
				}),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

// spreadOver is how many connections each node makes: enough to see an endpoint that gets half or twice its share.
const spreadOver = 2000

// spreads judges uniform draws wrong with a probability of at most chance.FalseAlarm.
func spreads() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/spreads",
		Title: "New TCP connections from one client to a ClusterIP Service spread evenly over its endpoints, from every node.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/networking/virtual-ips/#proxy-modes",
			Says: "kube-proxy chooses an endpoint at random by default (iptables, nftables) or takes turns (IPVS). How evenly other proxies " +
				"spread is not said.",
		},
		Why: "A replica with twice its share is the first to fall over. The spread is judged by Pearson's chi-square against equal shares, " +
			"with a limit that a proxy that draws evenly exceeds with a probability of one in a billion; one that takes turns never does. One " +
			"sample of 2,000 connections is judged once: one of four endpoints that gets half of its share, or less, is missed with a probability " +
			"under one in a thousand.",
		Roles:     []world.Role{world.Everywhere, world.Replica},
		Services:  []world.Service{world.Replicas},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ends := replicas(env)
			if len(ends) < 2 {
				return &requirement.Unsupported{Probed: "the Service has one endpoint in this cluster: nothing to spread over"}
			}
			limit := chance.SpreadLimit(len(ends), chance.FalseAlarm/float64(len(env.Roles(world.Everywhere))))
			return sampling{service: env.Service(world.Replicas), protocols: []string{"tcp"}, ends: toAll(ends), take: atOnceOf(spreadOver),
				judge: func(s draw.Sample, ends []*requirement.End, judgements int) error {
					if err := s.Among(ends, judgements); err != nil {
						return err
					}
					if x := chance.SpreadOf(s.Of(ends)); x > limit {
						return s.Failure(requirement.Uneven, fmt.Sprintf("%d connections spread evenly over %d endpoints (chi-square under %.1f)", s.Count, len(ends), limit),
							fmt.Sprintf("%s (chi-square %.1f)", s.Shares(), x))
					}
					env.Note("%s from %s: %s", env.Family, s.Client.Node, s.Shares())
					return nil
				}}.run(ctx, env)
		},
		Control: requirement.Control{
			Says:    "a Service with ClientIP affinity before the same endpoints",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.Replicas: world.Sticky}},
			Red:     []requirement.Reason{requirement.Uneven},
		},
	}
}
