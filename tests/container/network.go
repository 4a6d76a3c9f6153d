package container

import (
	"context"
	"fmt"
	"slices"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

func networkNamespaceShared() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/network-namespace-shared",
		Title: "Containers of one pod are in one network namespace, with the same interfaces, routes and pod IP, " +
			"which is neither the node's nor another pod's.",
		Level:  requirement.Must,
		Clause: podsShareNetwork,
		Why: "Everything else that containers of a pod share of the network follows from the one namespace, " +
			"and what keeps pods apart follows from there being one for each.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB, world.Near},
		Wants:   []world.Role{world.Node},
		Check:   checkNamespaceShared,
		Control: requirement.Control{
			Says:    "two pods of one node in place of two containers of one",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingB: world.Near}},
			Red:     []requirement.Reason{requirement.NotShared},
		},
		MoreControls: []requirement.Control{
			{Says: "the other pod in place of both containers",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingA: world.Near, world.SiblingB: world.Near}},
				Red:     []requirement.Reason{requirement.Leaked}},
			{Says: "the sibling in place of the node",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Node: world.SiblingB}},
				Red:     []requirement.Reason{requirement.Leaked}, Wants: []world.Role{world.Node}},
		},
	}
}

func checkNamespaceShared(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	ofA, err := a.Identity(ctx)
	if err != nil {
		return fmt.Errorf("reading the namespaces of %s: %w", a, err)
	}
	ofB, err := b.Identity(ctx)
	if err != nil {
		return fmt.Errorf("reading the namespaces of %s: %w", b, err)
	}
	differ := func(what string, ofA, ofB any) error {
		return &requirement.Failure{Reason: requirement.NotShared, From: a, To: b, Target: what, Protocol: "netns",
			Expected: "the same " + what + " in both containers", Observed: fmt.Sprintf("%v and %v", ofA, ofB),
			Again: "crictl inspect the two containers and compare the network namespace paths"}
	}
	inode := ofA.Namespaces["net"]
	switch {
	case inode == 0:
		return fmt.Errorf("%s cannot read its own network namespace in /proc", a)
	case inode != ofB.Namespaces["net"]:
		return differ("network namespace (inode)", inode, ofB.Namespaces["net"])
	case !slices.EqualFunc(ofA.Interfaces, ofB.Interfaces, sameInterface):
		return differ("interfaces", names(ofA), names(ofB))
	case !slices.Equal(ofA.Routes, ofB.Routes):
		return differ("routes", ofA.Routes, ofB.Routes)
	}
	for _, other := range strangersOf(env, a, env.RolesAsDeployed(world.Near)...) {
		of, err := other.Identity(ctx)
		if err != nil {
			return fmt.Errorf("reading the namespaces of %s: %w", other, err)
		}
		switch {
		case of.Namespaces["net"] != inode:
		case slices.EqualFunc(ofA.Interfaces, of.Interfaces, sameInterface):
			return &requirement.Failure{Reason: requirement.Leaked, From: a, To: other, Protocol: "netns",
				Expected: "a network namespace of the pod's own", Observed: fmt.Sprintf("inode %d in both, and the same interfaces", inode)}
		default:
			// The number names a namespace within one kernel only: sandboxes with kernels of their own number theirs alike.
			env.Note("%s has a network namespace of the number %d too, with other interfaces: their kernels are not the same", other, inode)
		}
	}
	return nil
}

func sameInterface(x, y wire.Interface) bool {
	return x.Name == y.Name && x.Index == y.Index && x.MTU == y.MTU && x.MAC == y.MAC && slices.Equal(x.Addrs, y.Addrs)
}

func names(id wire.Identity) (all []string) {
	for _, i := range id.Interfaces {
		all = append(all, i.Name)
	}
	return all
}

func portConflict() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/port-conflict",
		Title:  "A port that one container holds is taken for its sibling (EADDRINUSE), and free for another pod on the same node.",
		Level:  requirement.Must,
		Clause: podsShareNetwork,
		Why: "Containers of one pod coordinate their ports, pods never have to: that is what an IP per pod is for. " +
			"A second bind that succeeds means two namespaces; one that fails in another pod means a port space shared between pods.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB, world.Near},
		Check:   checkPortConflict,
		Control: requirement.Control{
			Says:    "two pods in place of two containers of one",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingB: world.Near}},
			Red:     []requirement.Reason{requirement.NotShared},
		},
		MoreControls: []requirement.Control{
			{Says: "the other pod in place of both containers",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingA: world.Near, world.SiblingB: world.Near}},
				Red:     []requirement.Reason{requirement.Leaked}},
		},
	}
}

func checkPortConflict(ctx context.Context, env *requirement.Env) error {
	a, b, other := env.Role(world.SiblingA), env.Role(world.SiblingB), env.RolesAsDeployed(world.Near)[0]
	for i, network := range []string{"tcp4", "udp4"} {
		at := requirement.At(env.Any(), env.Port(i))
		held, err := bind(ctx, a, network, at)
		if err != nil {
			return err
		}
		defer exchange.Release(ctx, a, held.Handle)
		if !held.Ok() {
			return fmt.Errorf("%s cannot bind %s %s: %s", a, network, at, held.Errno)
		}
		second, err := bind(ctx, b, network, at)
		if err != nil {
			return err
		}
		defer exchange.Release(ctx, b, second.Handle)
		if second.Class != wire.InUse {
			return &requirement.Failure{Reason: requirement.NotShared, From: a, To: b, Target: at, Protocol: network,
				Expected: "EADDRINUSE for the second bind of " + at, Observed: second.Errno.String()}
		}
		elsewhere, err := bind(ctx, other, network, at)
		if err != nil {
			return err
		}
		defer exchange.Release(ctx, other, elsewhere.Handle)
		if !elsewhere.Ok() {
			return &requirement.Failure{Reason: requirement.Leaked, From: a, To: other, Target: at, Protocol: network,
				Expected: "the same port to be free in another pod", Observed: elsewhere.Errno.String()}
		}
	}
	return nil
}

func bind(ctx context.Context, end *requirement.End, network, at string) (wire.Listening, error) {
	got, err := end.Listen(ctx, wire.Listen{Network: network, Address: at})
	if err != nil {
		return got, fmt.Errorf("binding %s %s in %s: %w", network, at, end, err)
	}
	return got, nil
}
