package container

import (
	"context"
	"fmt"
	"slices"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func ipcNamespaceShared() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/ipc-namespace-shared",
		Title:  "Containers of one pod are in one IPC namespace, which is neither the node's nor another pod's.",
		Level:  requirement.Must,
		Clause: podsShareIPC,
		Why: "All that containers of a pod share of System V and POSIX queues follows from the one namespace, which the sandbox holds " +
			"while containers come and go.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB, world.Near},
		Wants:   []world.Role{world.Node},
		Check:   checkIPCNamespace,
		Control: twoPods(),
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

// checkIPCNamespace asks the kernel for the namespace's number, which names it within one kernel only, and for a queue by its key:
// sandboxes with kernels of their own number their namespaces alike.
func checkIPCNamespace(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	if err := sameNamespace(ctx, "ipc", a, b); err != nil {
		return err
	}
	queue := mechanisms[0]
	one, free, err := queue.made(ctx, a)
	if err != nil {
		return err
	}
	defer free()
	seen, err := one.see(ctx, b)
	if err != nil {
		return fmt.Errorf("looking for a %s in %s: %w", queue.says, b, err)
	}
	if !seen.Ok() {
		return &requirement.Failure{Reason: requirement.NotShared, From: a, To: b, Target: one.says, Protocol: queue.says,
			Expected: "the sibling to find the " + queue.says, Observed: opened(seen), Again: "ipcs -q in both containers"}
	}
	own, err := inode(ctx, a, "ipc")
	if err != nil {
		return err
	}
	for _, other := range strangersOf(env, a, env.RolesAsDeployed(world.Near)...) {
		of, err := inode(ctx, other, "ipc")
		if err != nil {
			return err
		}
		if of != own {
			continue
		}
		if seen, err = one.see(ctx, other); err != nil {
			return fmt.Errorf("looking for a %s in %s: %w", queue.says, other, err)
		}
		if seen.Class != wire.NotThere {
			return &requirement.Failure{Reason: requirement.Leaked, From: a, To: other, Target: "ipc namespace", Protocol: "ipc",
				Expected: "another ipc namespace", Observed: fmt.Sprintf("inode %d in both, and the other's %s: %s", own, queue.says, opened(seen)),
				Again: "lsns -t ipc on node " + a.Node}
		}
		env.Note("%s has an ipc namespace of the number %d too, without %s's %s: their kernels are not the same", other, own, a, queue.says)
	}
	return nil
}

// strangersOf are who must be in other namespaces than the end: these pods, and the node itself where its agent is admitted.
func strangersOf(env *requirement.Env, end *requirement.End, pods ...*requirement.End) []*requirement.End {
	if node := env.OnNode(world.Node, end.Node); node != nil {
		return append(slices.Clone(pods), node)
	}
	env.Note("not compared with the node itself: no agent is admitted there")
	return pods
}

func hostIPC() requirement.Requirement {
	return requirement.Requirement{
		ID:          "container/host-ipc",
		Title:       "hostIPC pods are in the node's own IPC namespace, and so in each other's.",
		Level:       requirement.Must,
		Clause:      hostIPCField,
		Why:         "It is what a pod asks for who must meet programs of the node, or of another pod, by System V keys and queue names.",
		PodSecurity: "privileged",
		PerNode:     true,
		Roles:       []world.Role{world.HostIPC, world.OtherHostIPC},
		Wants:       []world.Role{world.Node},
		Check: func(ctx context.Context, env *requirement.Env) error {
			pod := env.Role(world.HostIPC)
			if err := sameNamespace(ctx, "ipc", pod, env.Role(world.OtherHostIPC)); err != nil {
				return err
			}
			return ofTheNode(ctx, env, "ipc", pod)
		},
		Control:      noHostIPC(),
		MoreControls: halfHostIPC(),
	}
}

// inode is the end's own namespace of the kind.
func inode(ctx context.Context, end *requirement.End, kind string) (uint64, error) {
	id, err := end.Identity(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the namespaces of %s: %w", end, err)
	}
	if id.Namespaces[kind] == 0 {
		return 0, fmt.Errorf("%s cannot read its own %s namespace in /proc", end, kind)
	}
	return id.Namespaces[kind], nil
}

func sameNamespace(ctx context.Context, kind string, a, b *requirement.End) error {
	ofA, err := inode(ctx, a, kind)
	if err != nil {
		return err
	}
	ofB, err := inode(ctx, b, kind)
	if err != nil {
		return err
	}
	if ofA != ofB {
		return &requirement.Failure{Reason: requirement.NotShared, From: a, To: b, Target: kind + " namespace", Protocol: kind,
			Expected: "one " + kind + " namespace for both", Observed: fmt.Sprintf("the inodes %d and %d", ofA, ofB),
			Again: "lsns -t " + kind + " on node " + a.Node}
	}
	return nil
}

// ofTheNode judges that the end is in the namespace of the node's first process, as the node's agent sees it.
func ofTheNode(ctx context.Context, env *requirement.Env, kind string, end *requirement.End) error {
	node := env.OnNode(world.Node, end.Node)
	if node == nil {
		env.Note("not compared with the node's own %s namespace: no agent is admitted there", kind)
		return nil
	}
	own, err := inode(ctx, end, kind)
	if err != nil {
		return err
	}
	first, err := node.File(ctx, wire.File{Do: "stat", Path: "/proc/1/ns/" + kind})
	if err != nil {
		return fmt.Errorf("reading the first process's namespaces on %s: %w", end.Node, err)
	}
	if !first.Ok() {
		return fmt.Errorf("%s cannot read the %s namespace of the node's first process: %s", node, kind, first.Errno)
	}
	if first.Inode != own {
		return &requirement.Failure{Reason: requirement.NotShared, From: end, To: node, Target: kind + " namespace", Protocol: kind,
			Expected: "the " + kind + " namespace of the node's first process", Observed: fmt.Sprintf("inode %d, not %d", own, first.Inode),
			Again: "lsns -t " + kind + " on node " + end.Node}
	}
	return nil
}
