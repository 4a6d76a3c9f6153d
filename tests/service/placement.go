package service

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// path is a client, and a Service whose one endpoint is on a known node.
type path struct {
	client, server world.Role
	service        world.Service
}

// The paths of a client; requirements that walk them are judged per node, so that each node has its client.
var (
	localPath  = path{world.Near, world.OnlyNear, world.NearAlone}
	remotePath = path{world.Near, world.OnlyFar, world.FarAlone}
)

// along walks those of the paths that the cluster has the nodes for, with the Service's cluster IP.
func along(env *requirement.Env, do func(client, server *requirement.End, ip netip.Addr) error, paths ...path) error {
	for _, p := range paths {
		if len(env.Roles(p.client)) == 0 || len(env.Roles(p.server)) == 0 {
			env.Note("judged on one node only: the cluster has no other that takes pods")
			continue
		}
		ip, err := virtualIP(env, p.service)
		if err != nil {
			return err
		}
		if err := do(env.Role(p.client), env.Role(p.server), ip); err != nil {
			return err
		}
	}
	return nil
}

// works has the client talk to the server through the cluster IP over each protocol, from the requirement's own source ports.
func works(ctx context.Context, env *requirement.Env, see func(client *requirement.End, protocol string, seen wire.Exchange) error) func(client, server *requirement.End, ip netip.Addr) error {
	return func(client, server *requirement.End, ip netip.Addr) error {
		for i, protocol := range bothProtocols {
			seen, err := fromPort(ctx, env, i, exchange.Talk{From: client, To: server, Network: protocol, Dial: requirement.At(ip, world.ServicePort)})
			if err == nil && see != nil {
				err = see(client, protocol, seen)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func localEndpoint() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/local-endpoint",
		Title:  "A pod reaches a ClusterIP Service whose only endpoint is on its own node, over TCP and UDP.",
		Level:  requirement.Must,
		Clause: virtualIPs,
		Why: "Translation back happens where the answer passes the node's connection tracking. On one node a bridge can carry the answer " +
			"from pod to pod past it (bridge-nf-call-iptables off), and the client gets it from an address that it never asked.",
		PerNode:   true,
		Roles:     []world.Role{world.Near, world.OnlyNear},
		Services:  []world.Service{world.NearAlone},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			return along(env, works(ctx, env, nil), localPath)
		},
		Control: droppedAt(world.OnlyNear, "what comes to the endpoint dropped on its node after translation"),
	}
}

func remoteEndpoint() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/remote-endpoint",
		Title:  "A pod reaches a ClusterIP Service whose only endpoint is on another node, over TCP and UDP.",
		Level:  requirement.Must,
		Clause: virtualIPs,
		Why: "Pods that reach each other across nodes and a ClusterIP that answers on one node do not yet make this: the translated packet " +
			"must take the same way, back through the node that translated it. Tunnels with broken checksum offload lose exactly these.",
		Needs:     []requirement.Feature{requirement.TwoNodes},
		PerNode:   true,
		Roles:     []world.Role{world.Near, world.OnlyFar},
		Services:  []world.Service{world.FarAlone},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			return along(env, works(ctx, env, nil), remotePath)
		},
		Control: droppedAt(world.OnlyFar, "what comes to the endpoint dropped on its node after translation"),
	}
}

func sourceIP() requirement.Requirement {
	return requirement.Requirement{
		ID: "service/source-ip",
		Title: "Through a ClusterIP an endpoint sees the client's own pod IP, over TCP and UDP, whether it is on the client's node or on " +
			"another.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tutorials/services/source-ip/#source-ip-for-services-with-type-clusterip",
			Says: "Packets that are sent to a ClusterIP from within the cluster are never source-NATed with kube-proxy in iptables mode. " +
				"No sentence says so of every proxy, and kube-proxy has a setting (masqueradeAll) against it.",
		},
		Why: "Network policies select clients by pod: on an endpoint that sees a node's address instead, they let in everybody or nobody. " +
			"Access logs and limits per client rest on it too.",
		PerNode:   true,
		Roles:     []world.Role{world.Near, world.OnlyNear},
		Wants:     []world.Role{world.OnlyFar},
		Services:  []world.Service{world.NearAlone, world.FarAlone},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			seesClient := func(client *requirement.End, protocol string, seen wire.Exchange) error {
				own, saw := exchange.Addr(seen.Local), exchange.Addr(seen.Witness.Remote)
				if own == saw {
					return nil
				}
				return &requirement.Failure{Reason: requirement.Translated, From: client, Target: seen.Remote, Protocol: protocol,
					Expected: fmt.Sprintf("the endpoint %s to see the client's own address %s", seen.Witness.Who, own),
					Observed: "the client as " + seen.Witness.Remote,
					Again:    "conntrack -L --orig-dst " + exchange.Addr(seen.Remote).String() + "   (on node " + client.Node + ")"}
			}
			return along(env, works(ctx, env, seesClient), localPath, remotePath)
		},
		Control: requirement.Control{
			Says: "the requirement's own connections masqueraded as they leave the node for the endpoint",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.Near, fault.MasqueradeFrom(bothProtocols...)),
				fault.InPodOf(world.OnlyNear, fault.TranslateFrom(bothProtocols...)),
			}},
			Red: []requirement.Reason{requirement.Translated},
		},
	}
}

// droppedAt is a control that drops what comes to that endpoint, after translation.
func droppedAt(endpoint world.Role, says string) requirement.Control {
	return requirement.Control{
		Says: says,
		Fault: &requirement.Fault{Points: []requirement.Point{
			fault.OnNodeOf(endpoint, fault.DropFrom("forward", bothProtocols...)),
			fault.InPodOf(endpoint, fault.DropFrom("input", bothProtocols...)),
		}},
		Red: []requirement.Reason{requirement.NoAnswer},
	}
}
