package external

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
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
			Says: "what goes to the node port dropped on one node instead",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(dropNodePort(world.NodePortEmpty, []string{"prerouting"}, "tcp", "udp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

// affinityTries is how many connections must meet one endpoint: two endpoints chosen by chance do so with a probability
// of 2^-39, 2e-12, which is also how often the control would be missed.
const affinityTries = 40

func nodePortSessionAffinity() requirement.Requirement {
	return requirement.Requirement{
		ID:    "external/nodeport-session-affinity",
		Title: "With sessionAffinity ClientIP, a host outside the cluster meets one endpoint by all its connections through a node's port.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/service.go#L2266",
			Says: "Conformance: a NodePort Service with sessionAffinity ClientIP serves all of a client's consecutive requests by the same pod.",
		},
		Why: "Sessions kept in a pod's memory break when requests wander. Behind NodePorts the affinity is kept by each node on its own: " +
			"a client that is spread over nodes is spread over endpoints too. 40 connections that met one of two endpoints by chance " +
			"have a probability of 2e-12.",
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
			for _, node := range nodes {
				talk := exchange.Talk{From: node.from, Among: endpoints, Network: "tcp",
					Dial: requirement.At(node.ip, nodePort(env, world.NodePortSticky, "tcp"))}
				if err := meetsOne(ctx, env, talk); err != nil {
					return through(err, node.name)
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says:    "the same Service with sessionAffinity None",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.NodePortSticky: world.NodePortLoose}},
			Red:     []requirement.Reason{requirement.WrongPeer},
		},
	}
}

// meetsOne says whether all connections are answered by the endpoint that answered the first.
func meetsOne(ctx context.Context, env *requirement.Env, talk exchange.Talk) error {
	first, err := exchange.Works(ctx, env, talk)
	if err != nil {
		return err
	}
	for n := 2; n <= affinityTries; n++ {
		seen, err := exchange.Works(ctx, env, talk)
		if err != nil {
			return err
		}
		if seen.Witness.Who != first.Witness.Who {
			return &requirement.Failure{Reason: requirement.WrongPeer, From: talk.From, Behind: talk.Among, Target: talk.Dial, Protocol: "tcp",
				Expected: fmt.Sprintf("all connections answered by %s, as the first was", first.Witness.Who),
				Observed: fmt.Sprintf("connection %d answered by %s", n, seen.Witness.Who)}
		}
	}
	return nil
}
