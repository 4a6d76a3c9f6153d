package service

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/draw"
)

var internalTrafficPolicy = requirement.Clause{
	URL: "https://kubernetes.io/docs/concepts/services-networking/service-traffic-policy/",
	Says: "With internalTrafficPolicy Local the proxy uses only the endpoints on the client's own node for traffic from within the " +
		"cluster; for pods of a node without one the Service behaves as if it had no endpoints at all.",
}

func internalPolicyLocal() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/internal-traffic-policy-local",
		Title:  "With internalTrafficPolicy Local a pod reaches only the endpoints on its own node, over TCP and UDP.",
		Level:  requirement.Must,
		Clause: internalTrafficPolicy,
		Why: "Log collectors and caches that run on every node rest on it: a client that is sent to another node's agent pays for the " +
			"way, and its records carry the wrong node. Once the Service is known, one sample is drawn over each protocol and judged once: " + leakMissed,
		Needs:     []requirement.Feature{requirement.TwoNodes},
		Roles:     []world.Role{world.Everywhere, world.Replica},
		Services:  []world.Service{world.Local},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			// Of nodes without an endpoint service/internal-traffic-policy-local-none says what is due.
			local := func(client *requirement.End) []*requirement.End { return onNode(replicas(env), client.Node) }
			return sampling{service: env.Service(world.Local), protocols: bothProtocols, ends: local, take: atOnceOf(draw.Leaks()), judge: onlyAmong}.run(ctx, env)
		},
		Control: requirement.Control{
			Says:    "a Service before the same endpoints with the policy Cluster",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.Local: world.Replicas}},
			Red:     []requirement.Reason{requirement.WrongPeer},
		},
	}
}

func internalPolicyLocalNone() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/internal-traffic-policy-local-none",
		Title:  "With internalTrafficPolicy Local a pod of a node without an endpoint is not answered by those of other nodes, over TCP and UDP.",
		Level:  requirement.Must,
		Clause: internalTrafficPolicy,
		Why: "The policy is chosen so that traffic does not leave the node. A proxy that falls back to other nodes' endpoints sends it out " +
			"just when the local one is down, and nobody notices. Five attempts in a row get no answer, each beside one to an endpoint of that " +
			"node through another Service that gets one.",
		Needs:     []requirement.Feature{requirement.TwoNodes},
		Roles:     []world.Role{world.Everywhere, world.WebNear, world.OnlyNear},
		Services:  []world.Service{world.LocalNear, world.NearAlone},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := virtualIP(env, world.LocalNear)
			if err != nil {
				return err
			}
			beside, err := virtualIP(env, world.NearAlone)
			if err != nil {
				return err
			}
			group, ctx := errgroup.WithContext(ctx)
			for _, client := range env.Roles(world.Everywhere) {
				if client.Node != env.Role(world.WebNear).Node {
					heard := exchange.Talk{From: client, To: env.Role(world.OnlyNear), Dial: requirement.At(beside, world.ServicePort)}
					group.Go(func() error { return unanswered(ctx, env, heard, requirement.At(ip, world.ServicePort)) })
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

// unanswered says whether each of the targets stays without an answer over TCP and UDP, beside a talk of the client's that is answered, and
// notes what came instead.
func unanswered(ctx context.Context, env *requirement.Env, heard exchange.Talk, targets ...string) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, target := range targets {
		for _, protocol := range bothProtocols {
			group.Go(func() error {
				heard, talk := heard, exchange.Talk{From: heard.From, Network: protocol, Dial: target}
				heard.Network = protocol
				if err := serviceAnswers(ctx, env, heard); err != nil {
					return err
				}
				by, err := exchange.Silent(ctx, env, talk, heard, "")
				if err == nil {
					env.Note("%s: %s over %s is answered by nobody: %s", env.Family, target, protocol, by)
				}
				return err
			})
		}
	}
	return group.Wait()
}
