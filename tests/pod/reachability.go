package pod

import (
	"context"
	"strings"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

var networkModel = requirement.Clause{
	URL: "https://kubernetes.io/docs/concepts/services-networking/#the-kubernetes-network-model",
	Says: "Every pod has a cluster-wide IP of its own, and pods reach all other pods directly, on the same node or on another, " +
		"without proxies or address translation.",
}

// placement is where the second pod is.
type placement struct {
	suffix, says string
	peer         world.Role
	needs        []requirement.Feature
}

var placements = []placement{
	{"same-node", "on the same node", world.Near, nil},
	{"cross-node", "on different nodes", world.Far, []requirement.Feature{requirement.TwoNodes}},
}

// protocol is a transport that pods talk over.
type protocol struct {
	name  string
	level requirement.Level
	from  requirement.Clause
}

var protocols = []protocol{
	{"tcp", requirement.Must, networkModel},
	{"udp", requirement.Must, networkModel},
	{"sctp", requirement.Optional, requirement.Clause{
		URL: "https://kubernetes.io/docs/concepts/services-networking/service/#protocol-sctp",
		Says: "When the network plugin supports SCTP, it can be used for most Services; pods then reach each other over it " +
			"as over TCP and UDP.",
	}},
}

// reachability generates protocol x placement from one table: a row of it differs in nothing else.
func reachability() []requirement.Requirement {
	var all []requirement.Requirement
	for _, protocol := range protocols {
		for _, at := range placements {
			all = append(all, reaches(protocol, at))
		}
	}
	for _, at := range placements {
		all = append(all, noNAT(at))
	}
	return all
}

func reaches(over protocol, at placement) requirement.Requirement {
	name := strings.ToUpper(over.name)
	return requirement.Requirement{
		ID:     "pod/" + over.name + "-" + at.suffix,
		Title:  "Two pods " + at.says + " reach each other by pod IP over " + name + ", each direction.",
		Level:  over.level,
		Clause: over.from,
		Why: "The network model itself. On one node it is the plugin's bridge or routes that break it, across nodes its tunnel, " +
			"its routes, a cloud's source check or a host firewall.",
		Needs:     at.needs,
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, at.peer},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			if err := exchange.Speaks(ctx, over.name, env.Role(world.SiblingA), env.Role(at.peer)); err != nil {
				return err
			}
			return eachDirection(ctx, env, at.peer, false, over.name)
		},
		Control: requirement.Control{
			Says: name + " dropped between the two",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(at.peer, fault.DropOwnPorts("input", over.name)),
				fault.OnNodeOf(at.peer, fault.DropOwnPorts("forward", over.name)),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says: name + " dropped between the two in the other direction",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.SiblingA, fault.DropOwnPorts("input", over.name)),
				fault.OnNodeOf(world.SiblingA, fault.Towards(world.SiblingA, fault.DropOwnPorts("forward", over.name))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

func noNAT(at placement) requirement.Requirement {
	return requirement.Requirement{
		ID: "pod/no-nat-" + at.suffix,
		Title: "Between two pods " + at.says + " the server sees the client's own pod IP and the client reaches the server's own, " +
			"over TCP and UDP, each direction.",
		Level:  requirement.Must,
		Clause: networkModel,
		Why: "Network policies, access logs, and protocols that name their own address (SIP, FTP, cluster gossip) rest on it. " +
			"A node that masquerades pod traffic breaks it while everything still connects.",
		Needs:     at.needs,
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, at.peer},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			return eachDirection(ctx, env, at.peer, true, "tcp", "udp")
		},
		Control: requirement.Control{
			Says: "pod traffic over TCP masqueraded on a node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.SiblingA, fault.MasqueradeOwnPorts("tcp")),
				fault.InPodOf(at.peer, fault.TranslateSource("tcp")),
			}},
			Red: []requirement.Reason{requirement.Translated},
		},
		MoreControls: []requirement.Control{
			{Says: "pod traffic over UDP masqueraded on a node", Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.SiblingA, fault.MasqueradeOwnPorts("udp")),
				fault.InPodOf(at.peer, fault.TranslateSource("udp"))}},
				Red: []requirement.Reason{requirement.Translated}},
			{Says: "pod traffic in the other direction masqueraded on a node", Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(at.peer, fault.Towards(world.SiblingA, fault.MasqueradeOwnPorts("tcp"))),
				fault.InPodOf(world.SiblingA, fault.TranslateSource("tcp"))}},
				Red: []requirement.Reason{requirement.Translated}},
		},
	}
}

func eachDirection(ctx context.Context, env *requirement.Env, peer world.Role, noNAT bool, protocols ...string) error {
	a, b := env.Role(world.SiblingA), env.Role(peer)
	for i, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
		ip, err := env.IP(way.to)
		if err != nil {
			return err
		}
		for _, protocol := range protocols {
			port := env.Port(i)
			seen, err := exchange.Works(ctx, env, exchange.Talk{
				From: way.from, To: way.to, Network: protocol, NoNAT: noNAT,
				Bind: requirement.At(env.Any(), port), Dial: requirement.At(ip, port),
			})
			if err != nil {
				return err
			}
			if noNAT && seen.Local != seen.Witness.Remote {
				env.Note("%s %s: the client's port was rewritten on the way: %s became %s", env.Family, protocol, seen.Local, seen.Witness.Remote)
			}
		}
	}
	return nil
}
