package external

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/reach"
	"github.com/parley-k8s/parley/framework/requirement"
)

func egress() requirement.Requirement {
	return requirement.Requirement{
		ID:    "external/egress",
		Title: "A pod on every node reaches a host outside the cluster, over TCP and UDP, which sees an address of the pod's node or the pod's own.",
		Level: requirement.Optional,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tasks/administer-cluster/ip-masq-agent/",
			Says: "Pods' addresses are often not routed outside of the cluster; nodes then hide them behind their own for what leaves it, and " +
				"what stays in it keeps the pod's address.",
		},
		Why: "Databases, registries and APIs of others are outside. A host that does not know the way back to a pod's address never answers: " +
			"forgotten masquerading looks like a dead network on one node, for what goes out only.",
		Needs:     []requirement.Feature{requirement.OutsideHost},
		Roles:     []world.Role{world.Outside, world.Everywhere, world.WebNear},
		Wants:     []world.Role{world.Node},
		Services:  []world.Service{world.NodePort},
		PerFamily: true,
		Check:     checkEgress,
		Control: requirement.Control{
			Says: "what goes to that host over TCP dropped on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(fault.DropOwnPorts("prerouting", "tcp")),
				fault.InPodOf(world.Everywhere, fault.DropOwnPorts("output", "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{
			{
				Says:  "what goes to that host over UDP dropped on one node",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.OnOneNode(fault.DropOwnPorts("prerouting", "udp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer},
			},
			// Whose address the host sees is judged alike over both protocols: TCP is enough.
			{
				Says:    "a relay before that host's server over TCP, whose address it sees in place of the pod's",
				Variant: &requirement.Variant{Fixture: behindRelay, Given: sourceJudged},
				Red:     []requirement.Reason{requirement.Translated},
			},
		},
	}
}

// behindRelay is the variant in which the host outside serves behind a relay, and relayed the n of the port of the server behind it.
const (
	behindRelay = "behind-relay"
	relayed     = 2
)

// sourceJudged says whether the check judges the source: where the host outside has no address that is known it may be translated on the way.
func sourceJudged(_ context.Context, env *requirement.Env) error {
	if _, known := env.Role(world.Outside).IP(env.Family); !known {
		return errors.New("this machine's own address towards the nodes is not known, and what is seen here may be translated on the way")
	}
	return nil
}

// serveOutside opens the server of the host outside at that port of the requirement's, or under the variant a relay there and the server
// behind it.
func serveOutside(ctx context.Context, env *requirement.Env, protocol string, at netip.Addr, n int) (close func(), err error) {
	outside := env.Role(world.Outside)
	all := []wire.Listen{{Network: protocol, Address: requirement.At(env.Any(), env.Port(n))}}
	if protocol == "tcp" && env.Fixture(behindRelay) {
		all[0].Behave, all[0].Target = "relay", requirement.At(at, env.Port(relayed))
		all = append(all, wire.Listen{Network: protocol, Address: requirement.At(env.Any(), env.Port(relayed))})
	}
	var handles []string
	close = func() {
		for _, handle := range handles {
			exchange.Release(ctx, outside, handle)
		}
	}
	for _, listen := range all {
		opened, err := outside.Listen(ctx, listen)
		if err == nil && !opened.Ok() {
			err = errors.New(opened.Errno.String())
		}
		if err != nil {
			close()
			return nil, fmt.Errorf("opening a server in the %s: %w", outside, err)
		}
		handles = append(handles, opened.Handle)
	}
	return close, nil
}

func checkEgress(ctx context.Context, env *requirement.Env) error {
	outside := env.Role(world.Outside)
	at, err := outsideIP(ctx, env)
	if err != nil {
		return err
	}
	for i, protocol := range []string{"tcp", "udp"} {
		close, err := serveOutside(ctx, env, protocol, at, i)
		if err != nil {
			return err
		}
		defer close()
		clients, err := whoseNodesReach(ctx, env, protocol, requirement.At(at, env.Port(i)))
		if err != nil {
			return err
		}
		for _, client := range clients {
			seen, err := exchange.Works(ctx, env, exchange.Talk{From: client, To: outside, Network: protocol, Dial: requirement.At(at, env.Port(i))})
			if err != nil {
				return err
			}
			if err := judgeSource(ctx, env, client, outside, protocol, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// outsideIP is the address of the host outside: its own, or where only this machine stands there the one that it shows
// to a node's port.
func outsideIP(ctx context.Context, env *requirement.Env) (netip.Addr, error) {
	outside, server := env.Role(world.Outside), env.Role(world.WebNear)
	if ip, ok := outside.IP(env.Family); ok {
		return ip, nil
	}
	nodes, why, err := fromOutsideAlone(ctx, env, "tcp", nodePort(env, world.NodePort, "tcp"))
	if err != nil {
		return netip.Addr{}, err
	}
	if why == "" {
		seen, err := exchange.Works(ctx, env, exchange.Talk{From: outside, To: server, Network: "tcp",
			Dial: requirement.At(nodes[0].ip, nodePort(env, world.NodePort, "tcp"))})
		if err == nil {
			return exchange.Addr(seen.Local), nil
		}
		why = err.Error()
	}
	return netip.Addr{}, &requirement.Unsupported{Probed: "this machine's own address towards the nodes is not known: " + why}
}

// whoseNodesReach are the pods that are to reach a server of the host outside: one on every node, where that host is known to stand beside
// them. A firewall or a router between the nodes and this machine is none of the cluster's: of a cluster of the user's it is the pods of
// those nodes that reach it themselves, and the others are noted.
func whoseNodesReach(ctx context.Context, env *requirement.Env, protocol, dial string) (clients []*requirement.End, err error) {
	if reach.Beside(env) {
		return env.Roles(world.Everywhere), nil
	}
	var cut []string
	for _, client := range env.Roles(world.Everywhere) {
		node := env.OnNode(world.Node, client.Node)
		if node == nil {
			cut = append(cut, client.Node+": no agent in the node's own network could ask")
			continue
		}
		answered, says, err := reach.Tried(ctx, env, node, wire.Connect{Network: protocol, Address: dial})
		if err != nil {
			return nil, err
		}
		if answered {
			clients = append(clients, client)
		} else {
			cut = append(cut, client.Node+" itself dials "+says)
		}
	}
	switch {
	case len(clients) == 0:
		return nil, &requirement.Unsupported{Probed: fmt.Sprintf("no node is known to reach this machine over %s: %s", protocol, strings.Join(cut, "; "))}
	case len(cut) > 0:
		env.Note("%s %s: not judged: %s", env.Family, protocol, strings.Join(cut, "; "))
	}
	return clients, nil
}

// judgeSource says whether the host outside saw the pod's own address or one of its node's.
func judgeSource(ctx context.Context, env *requirement.Env, client, outside *requirement.End, protocol string, seen wire.Exchange) error {
	from := exchange.Addr(seen.Witness.Remote)
	if from == exchange.Addr(seen.Local) {
		env.Note("%s %s: the host outside saw the pod of %s by its own address", env.Family, protocol, client.Node)
		return nil
	}
	agent := env.OnNode(world.Node, client.Node)
	if agent == nil {
		env.Note("%s %s: the host outside saw the pod of %s as %s; whether the node has it was not judged", env.Family, protocol, client.Node, from)
		return nil
	}
	id, err := agent.Identity(ctx)
	if err != nil {
		return fmt.Errorf("reading the addresses of node %s: %w", client.Node, err)
	}
	for _, i := range id.Interfaces {
		for _, text := range i.Addrs {
			if prefix, err := netip.ParsePrefix(text); err == nil && prefix.Addr() == from {
				env.Note("%s %s: the host outside saw the pod of %s as its node, %s", env.Family, protocol, client.Node, from)
				return nil
			}
		}
	}
	if _, known := outside.IP(env.Family); !known {
		env.Note("%s %s: the host outside saw the pod of %s as %s, translated somewhere on the way", env.Family, protocol, client.Node, from)
		return nil
	}
	return &requirement.Failure{Reason: requirement.Translated, From: client, To: outside, Protocol: protocol,
		Expected: "the host outside to see the pod's own address or one of its node's", Observed: "the pod as " + from.String()}
}
