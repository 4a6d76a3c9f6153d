package service

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

var internalTrafficPolicy = requirement.Clause{
	URL: "https://kubernetes.io/docs/concepts/services-networking/service-traffic-policy/",
	Says: "With internalTrafficPolicy Local the proxy uses only the endpoints on the client's own node for traffic from within the " +
		"cluster; for pods of a node without one the Service behaves as if it had no endpoints at all.",
}

// localDraws is how many connections each node makes: a proxy that draws from all of four endpoints would keep to the two
// local ones with a probability of 2 to the power of -40.
const localDraws = 40

func internalPolicyLocal() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/internal-traffic-policy-local",
		Title:  "With internalTrafficPolicy Local a pod reaches only the endpoints on its own node, over TCP and UDP.",
		Level:  requirement.Must,
		Clause: internalTrafficPolicy,
		Why: "Log collectors and caches that run on every node rest on it: a client that is sent to another node's agent pays for the " +
			"way, and its records carry the wrong node.",
		Needs:     []requirement.Feature{requirement.TwoNodes},
		Roles:     []world.Role{world.Everywhere, world.Replica},
		Services:  []world.Service{world.Local},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, protocol := range bothProtocols {
				err := fromEveryNode(ctx, env, env.Service(world.Local), protocol, localDraws, func(d drawn) error {
					local := onNode(replicas(env), d.client.Node)
					if len(local) == 0 {
						return nil // service/internal-traffic-policy-local-none
					}
					return d.among(local)
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says:    "a Service before the same endpoints with the policy Cluster",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.Local: world.Replicas}},
			Red:     []requirement.Reason{requirement.WrongPeer},
		},
	}
}

// noAnswerWithin is how long silence is listened to. What is forwarded is answered within milliseconds, and a first packet
// that was lost is not sent again in this time: so several are sent.
const noAnswerWithin = time.Second

func internalPolicyLocalNone() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/internal-traffic-policy-local-none",
		Title:  "With internalTrafficPolicy Local a pod of a node without an endpoint is not answered by those of other nodes, over TCP and UDP.",
		Level:  requirement.Must,
		Clause: internalTrafficPolicy,
		Why: "The policy is chosen so that traffic does not leave the node. A proxy that falls back to other nodes' endpoints sends it out " +
			"just when the local one is down, and nobody notices.",
		Needs:     []requirement.Feature{requirement.TwoNodes},
		Roles:     []world.Role{world.Everywhere, world.WebNear},
		Services:  []world.Service{world.LocalNear, world.NearAlone},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := virtualIP(env, world.LocalNear)
			if err != nil {
				return err
			}
			group, ctx := errgroup.WithContext(ctx)
			for _, client := range env.Roles(world.Everywhere) {
				if client.Node != env.Role(world.WebNear).Node {
					group.Go(func() error { return unanswered(ctx, env, client, requirement.At(ip, world.ServicePort)) })
				}
			}
			return group.Wait()
		},
		Control: requirement.Control{
			Says:    "a Service before the same endpoint with the policy Cluster",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.LocalNear: world.NearAlone}},
			Red:     []requirement.Reason{requirement.Answered},
		},
	}
}

// unanswered says whether each of the targets stays without an answer over TCP and UDP, and notes what came instead.
func unanswered(ctx context.Context, env *requirement.Env, client *requirement.End, targets ...string) error {
	const tries = 3
	group, ctx := errgroup.WithContext(ctx)
	for _, target := range targets {
		for _, protocol := range bothProtocols {
			group.Go(func() error {
				return env.Until(ctx, func(ctx context.Context) error {
					got, err := client.Connect(ctx, wire.Connect{Network: protocol, Address: target, Count: tries, Parallel: tries,
						Timeout: int(noAnswerWithin / time.Millisecond)})
					if err != nil {
						return fmt.Errorf("asking %s to dial %s: %w", client, target, err)
					}
					for _, seen := range got.Seen {
						if seen.Witness != nil {
							return &requirement.Failure{Reason: requirement.Answered, From: client, Target: target, Protocol: protocol,
								Expected: "no answer", Observed: fmt.Sprintf("one by %s at %s", seen.Witness.Who, seen.Witness.Local),
								Again: fmt.Sprintf("kubectl exec -n %s %s -c %s -- /agent dial %s %s", client.Namespace, client.Pod, client.Container, protocol, target)}
						}
					}
					if len(got.Seen) > 0 {
						env.Note("%s: %s over %s is answered by nobody: %s", env.Family, target, protocol, got.Seen[0].Errno)
					}
					return nil
				})
			})
		}
	}
	return group.Wait()
}
