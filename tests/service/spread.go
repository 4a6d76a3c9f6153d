package service

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/chance"
)

// fromEveryNode draws from a pod on every node at once, and gives what was drawn to judge.
func fromEveryNode(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, protocol string, count int, judge func(drawn) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, client := range env.Roles(world.Everywhere) {
		group.Go(func() error {
			return env.Until(ctx, func(ctx context.Context) error {
				d, err := drawEndpoints(ctx, env, client, service, protocol, count)
				if err != nil {
					return err
				}
				return judge(d)
			})
		})
	}
	return group.Wait()
}

// reachesAll judges uniform draws wrong with a probability of at most chance.FalseAlarm.
func reachesAll() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/reaches-all",
		Title:  "From every node, new connections to a ClusterIP Service reach each of its ready endpoints, over TCP and UDP.",
		Level:  requirement.Must,
		Clause: virtualIPs,
		Why: "One endpoint that one node can't reach fails one request in n from there: retries hide it and averages drown it. The check makes " +
			"so many connections that a healthy proxy that draws at random misses an endpoint with a probability under one in a billion.",
		Roles:     []world.Role{world.Everywhere, world.Replica},
		Services:  []world.Service{world.EveryReplica},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ends := replicas(env)
			judgements := len(env.Roles(world.Everywhere)) * len(bothProtocols)
			count := chance.DrawsToSee(len(ends), chance.FalseAlarm/float64(judgements))
			for _, protocol := range bothProtocols {
				err := fromEveryNode(ctx, env, env.Service(world.EveryReplica), protocol, count, func(d drawn) error {
					if err := d.among(ends); err != nil {
						return err
					}
					if i := slices.Index(d.of(ends), 0); i >= 0 {
						f := d.failure(requirement.WrongPeer, fmt.Sprintf("each of %d endpoints to answer some of %d connections", len(ends), count),
							d.shares()+"; never "+ends[i].Where())
						f.To = ends[i]
						return f
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			env.Note("%s: %d connections from each of %d nodes over each protocol, to %d endpoints", env.Family, count, len(env.Roles(world.Everywhere)), len(ends))
			return nil
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
const spreadOver = 1000

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
			"with a limit that a proxy that draws evenly exceeds with a probability of one in a billion; one that takes turns never does.",
		Roles:     []world.Role{world.Everywhere, world.Replica},
		Services:  []world.Service{world.Replicas},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ends := replicas(env)
			if len(ends) < 2 {
				return &requirement.Unsupported{Probed: "the Service has one endpoint in this cluster: nothing to spread over"}
			}
			limit := chance.SpreadLimit(len(ends), chance.FalseAlarm/float64(len(env.Roles(world.Everywhere))))
			return fromEveryNode(ctx, env, env.Service(world.Replicas), "tcp", spreadOver, func(d drawn) error {
				if err := d.among(ends); err != nil {
					return err
				}
				if x := chance.SpreadOf(d.of(ends)); x > limit {
					return d.failure(requirement.Uneven, fmt.Sprintf("%d connections spread evenly over %d endpoints (chi-square under %.1f)", d.count, len(ends), limit),
						fmt.Sprintf("%s (chi-square %.1f)", d.shares(), x))
				}
				env.Note("%s from %s: %s", env.Family, d.client.Node, d.shares())
				return nil
			})
		},
		Control: requirement.Control{
			Says:    "a Service with ClientIP affinity before the same endpoints",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.Replicas: world.Sticky}},
			Red:     []requirement.Reason{requirement.Uneven},
		},
	}
}
