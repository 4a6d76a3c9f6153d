package external

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/draw"
)

// refusedAgain is a patience that a control does not shorten: proxies refuse by ICMP errors, of which Linux sends one
// address about one a second after a burst of six (icmp_ratelimit, icmp(7)), and all checks come from one. An attempt
// must also outlast the first retransmission of a SYN: a client on the node's own kernel can get the first error while
// it still sends, and only the second ends its connect.
const refusedAgain = 3 * time.Second

func nodePortNoEndpoints() requirement.Requirement {
	return requirement.Requirement{
		ID:    "external/nodeport-no-endpoints",
		Title: "The node port of a Service without endpoints refuses a host outside the cluster at once, over TCP and UDP, on every node.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/service.go#L2419",
			Says: "The upstream suite demands that clients of a Service without endpoints are rejected (\"should be rejected when no endpoints " +
				"exist\"); the proxies reject its node ports too.",
		},
		Why: "A load balancer that is refused fails over at once; one that is met by silence holds each client for its whole time-out. " +
			"Firewalls that drop the ICMP error make UDP clients wait for ever.",
		Needs:     []requirement.Feature{requirement.OutsideHost},
		Roles:     []world.Role{world.Outside, world.WebNear},
		Wants:     []world.Role{world.Node},
		Services:  []world.Service{world.NodePortEmpty, world.NodePort},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			env.Patience = max(env.Patience, refusedAgain)
			for _, protocol := range []string{"tcp", "udp"} {
				nodes, err := reached(ctx, env, protocol, nodePort(env, world.NodePort, protocol))
				if err != nil {
					return err
				}
				for _, node := range nodes {
					talk := exchange.Talk{From: node.from, Network: protocol,
						Dial: requirement.At(node.ip, nodePort(env, world.NodePortEmpty, protocol))}
					if err := exchange.Rejected(ctx, env, talk); err != nil {
						return through(err, node.name)
					}
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "what goes to the node port over TCP dropped on one node instead",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(dropNodePort(world.NodePortEmpty, []string{"prerouting"}, "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says:  "what goes to the node port over UDP dropped on one node instead",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.OnOneNode(dropNodePort(world.NodePortEmpty, []string{"prerouting"}, "udp"))}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

// affinityPace is how the client connects to each node's port while its affinity is looked at.
var affinityPace = exchange.Pace{Every: 20 * time.Millisecond, For: 10 * time.Second}

func nodePortSessionAffinity() requirement.Requirement {
	return requirement.Requirement{
		ID:    "external/nodeport-session-affinity",
		Long:  true,
		Title: "With sessionAffinity ClientIP, a host outside the cluster meets one endpoint by all its connections through a node's port over 10 seconds.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/service.go#L2266",
			Says: "Conformance: a NodePort Service with sessionAffinity ClientIP serves all of a client's consecutive requests by the same pod.",
		},
		Why: "Sessions kept in a pod's memory break when requests wander. Behind NodePorts the affinity is kept by each node on its own: " +
			"a client that is spread over nodes is spread over endpoints too. The client connects to each node every 20 ms for 10 s, and is judged " +
			"once: what a proxy forgets once a second is missed by two endpoints with a probability of 1 in 512.",
		Needs:     []requirement.Feature{requirement.OutsideHost, requirement.TwoNodes},
		Roles:     []world.Role{world.Outside, world.WebNear, world.WebFar},
		Wants:     []world.Role{world.Node},
		Services:  []world.Service{world.NodePortSticky},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			nodes, err := reached(ctx, env, "tcp", nodePort(env, world.NodePortSticky, "tcp"))
			if err != nil {
				return err
			}
			endpoints := append(env.Roles(world.WebNear), env.Roles(world.WebFar)...)
			group, ctx := errgroup.WithContext(ctx)
			for _, node := range nodes {
				group.Go(func() error {
					target := requirement.At(node.ip, nodePort(env, world.NodePortSticky, "tcp"))
					return through(meetsOne(ctx, env, node.from, target, endpoints, len(nodes)), node.name)
				})
			}
			return group.Wait()
		},
		Control: requirement.Control{
			Says:    "the same Service with sessionAffinity None",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.NodePortSticky: world.NodePortLoose}},
			Red:     []requirement.Reason{requirement.WrongPeer},
		},
	}
}

// meetsOne says whether all connections over a while are answered by one endpoint, once the first was: it makes the choice.
func meetsOne(ctx context.Context, env *requirement.Env, client *requirement.End, target string, endpoints []*requirement.End, judgements int) error {
	from := draw.Source{Env: env, Client: client, Protocol: "tcp", Target: target}
	if err := from.Known(ctx); err != nil {
		return err
	}
	s, err := from.TakeOver(ctx, affinityPace)
	if err != nil {
		return err
	}
	if err := s.Among(endpoints, judgements); err != nil {
		return err
	}
	return s.One()
}
