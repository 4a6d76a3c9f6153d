package external

import (
	"context"
	"net/netip"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/reach"
	"github.com/parley-k8s/parley/framework/requirement"
)

// reached are the nodes that are judged from outside, each with who dials it, as reach.Judged has them: port is one that has to answer on
// every node over the protocol, 0 where there is none.
func reached(ctx context.Context, env *requirement.Env, protocol string, port int) ([]machine, error) {
	nodes, err := machines(ctx, env)
	if err != nil {
		return nil, err
	}
	judged, err := reach.Judged(ctx, env, places(nodes), protocol, port)
	return machinesOf(judged), err
}

// fromOutsideAlone is reached without anybody who takes the place of the host outside: where that reaches no node, why says what was
// probed.
func fromOutsideAlone(ctx context.Context, env *requirement.Env, protocol string, port int) (nodes []machine, why string, err error) {
	if nodes, err = machines(ctx, env); err != nil {
		return nil, "", err
	}
	far, why, err := reach.FromOutside(ctx, env, places(nodes), protocol, port)
	return machinesOf(far), why, err
}

// reachedAt is *requirement.Unsupported for an address of a load balancer or a proxy that this machine may have no way to: a private one
// (RFC 1918, RFC 4193) that is silent, where this machine reaches no node either. A requirement that asks declares world.Node.
func reachedAt(ctx context.Context, env *requirement.Env, at netip.Addr, port int) error {
	if reach.Beside(env) || !at.IsPrivate() {
		return nil
	}
	answered, says, err := reach.Tried(ctx, env, env.Role(world.Outside), wire.Connect{Network: "tcp", Address: requirement.At(at, port), Knock: true})
	if err != nil || answered {
		return err
	}
	_, why, err := fromOutsideAlone(ctx, env, "tcp", 0)
	if err != nil || why == "" {
		return err
	}
	return &requirement.Unsupported{Probed: says + ", and " + why}
}

func places(nodes []machine) (all []reach.Node) {
	for _, n := range nodes {
		all = append(all, reach.Node{Name: n.name, IP: n.ip})
	}
	return all
}

func machinesOf(nodes []reach.Node) (all []machine) {
	for _, n := range nodes {
		all = append(all, machine{name: n.Name, ip: n.IP, from: n.From})
	}
	return all
}
