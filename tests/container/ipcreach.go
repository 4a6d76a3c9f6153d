package container

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

var hostIPCField = requirement.Clause{
	URL:  "https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodSpec",
	Says: "hostIPC: the pod uses the host's IPC namespace; the default is false.",
}

// mechanism is a way of inter-process communication by key or name.
type mechanism struct {
	id, says string
	// inDevShm says that its objects are files in /dev/shm, which is a mount and not the IPC namespace.
	inDevShm bool
	object   func() object
}

// object is one object of a mechanism that nobody else chose.
type object struct {
	says            string
	make, see, free ipcCall
}

type ipcCall = func(context.Context, *requirement.End) (wire.Errno, error)

var mechanisms = []mechanism{
	{"sysv-message-queue", "System V message queue", false, byKey(func(ctx context.Context, end *requirement.End, do string, key int32) (wire.Errno, error) {
		seen, err := end.Queue(ctx, wire.Queue{Do: do, Key: key})
		return seen.Errno, err
	})},
	{"sysv-semaphore", "System V semaphore", false, byKey(func(ctx context.Context, end *requirement.End, do string, key int32) (wire.Errno, error) {
		seen, err := end.Sem(ctx, wire.Sem{Do: do, Key: key})
		return seen.Errno, err
	})},
	{"sysv-shared-memory", "System V segment", false, byKey(func(ctx context.Context, end *requirement.End, do string, key int32) (wire.Errno, error) {
		seen, err := end.Shm(ctx, wire.Shm{Do: do, Key: key, Size: 4096})
		return seen.Errno, err
	})},
	{"posix-message-queue", "POSIX message queue", false, byName(func(ctx context.Context, end *requirement.End, do, name string) (wire.Errno, error) {
		seen, err := end.MQueue(ctx, wire.MQueue{Do: do, Name: name})
		return seen.Errno, err
	})},
	{"posix-semaphore", "POSIX semaphore", true, byName(func(ctx context.Context, end *requirement.End, do, name string) (wire.Errno, error) {
		seen, err := end.Sem(ctx, wire.Sem{Do: do, Name: name})
		return seen.Errno, err
	})},
	{"posix-shared-memory", "POSIX shared memory object", true, byName(func(ctx context.Context, end *requirement.End, do, name string) (wire.Errno, error) {
		seen, err := end.Shm(ctx, wire.Shm{Do: do, Name: name, Size: 4096})
		return seen.Errno, err
	})},
}

func byKey(ask func(context.Context, *requirement.End, string, int32) (wire.Errno, error)) func() object {
	return func() object {
		key := newKey()
		return objectOf(fmt.Sprintf("key %#x", key), func(do string) ipcCall {
			return func(ctx context.Context, end *requirement.End) (wire.Errno, error) { return ask(ctx, end, do, key) }
		})
	}
}

func byName(ask func(context.Context, *requirement.End, string, string) (wire.Errno, error)) func() object {
	return func() object {
		name := newName()
		return objectOf(name, func(do string) ipcCall {
			return func(ctx context.Context, end *requirement.End) (wire.Errno, error) { return ask(ctx, end, do, name) }
		})
	}
}

func objectOf(says string, do func(string) ipcCall) object {
	return object{says, do("create"), do("open"), do("remove")}
}

// ipcReach generates, for each mechanism, who must not find its objects, and who must under hostIPC.
func ipcReach() []requirement.Requirement {
	var all []requirement.Requirement
	for _, m := range mechanisms {
		all = append(all, isolated(m), onHost(m))
	}
	return all
}

func isolated(m mechanism) requirement.Requirement {
	r := ipcIsolated()
	r.ID = "container/" + m.id + "-isolated"
	r.Title = "A " + m.says + " that a pod makes is not there for another pod on the node, nor for the node itself."
	r.Why = "The kernel keeps it in the pod's IPC namespace, which must be no other pod's and not the node's."
	if m.inDevShm {
		r.Why = "It is a file in /dev/shm: apart from the IPC namespace, that mount must be no other pod's and not the node's."
	}
	r.Check = func(ctx context.Context, env *requirement.Env) error { return checkIsolated(ctx, env, m) }
	// Two hostIPC pods are open to the node as well: who each of the strangers is has controls of its own.
	r.MoreControls = append(r.MoreControls, requirement.Control{
		Says: "a hostIPC pod",
		Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingA: world.HostIPC},
			Given: func(ctx context.Context, env *requirement.Env) error { return foundByNode(ctx, env, m) }},
		Red: []requirement.Reason{requirement.Leaked}, Wants: []world.Role{world.Node},
	})
	r.Control.Says = "two hostIPC pods"
	r.Control.Variant = &requirement.Variant{Roles: map[world.Role]world.Role{
		world.SiblingA: world.HostIPC, world.Near: world.OtherHostIPC},
		Given: func(ctx context.Context, env *requirement.Env) error { return checkOnHost(ctx, env, m) }}
	return r
}

func ipcIsolated() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/ipc-isolated",
		Title: "System V keys and POSIX names that a pod makes are not there for another pod on the node, " +
			"nor for the node itself.",
		Level:  requirement.Must,
		Clause: podsShareIPC,
		Why: "Keys are small numbers that programs choose alike, and names are guessed: a shared namespace lets one tenant read, " +
			"fill or remove another's queues and memory.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.Near},
		Wants:   []world.Role{world.Node},
		Check:   func(ctx context.Context, env *requirement.Env) error { return checkIsolated(ctx, env, mechanisms...) },
		Control: requirement.Control{
			Says: "a hostIPC pod",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingA: world.HostIPC},
				Given: func(ctx context.Context, env *requirement.Env) error { return foundByNode(ctx, env, mechanisms[0]) }},
			Red: []requirement.Reason{requirement.Leaked},
		},
		MoreControls: []requirement.Control{{
			Says:    "the sibling in place of the other pod",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Near: world.SiblingB}},
			Red:     []requirement.Reason{requirement.Leaked},
		}},
	}
}

func checkIsolated(ctx context.Context, env *requirement.Env, kinds ...mechanism) error {
	owner := env.Role(world.SiblingA)
	strangers := strangersOf(env, owner, env.Role(world.Near))
	for _, m := range kinds {
		one, free, err := m.made(ctx, owner)
		if err != nil {
			return err
		}
		defer free()
		for _, stranger := range strangers {
			seen, err := one.see(ctx, stranger)
			if err != nil {
				return fmt.Errorf("looking for a %s in %s: %w", m.says, stranger, err)
			}
			if seen.Class != wire.NotThere {
				return &requirement.Failure{Reason: requirement.Leaked, From: owner, To: stranger, Target: one.says, Protocol: m.says,
					Expected: "no trace of the " + m.says, Observed: opened(seen), Again: "ipcs -a; ls /dev/shm"}
			}
		}
	}
	return nil
}

// opened says how opening an object ended.
func opened(e wire.Errno) string {
	if e.Ok() {
		return "it opened"
	}
	return e.String()
}

// made makes an object in the owner, who must find it, and says how to remove it.
func (m mechanism) made(ctx context.Context, owner *requirement.End) (object, func(), error) {
	one := m.object()
	made, err := one.make(ctx, owner)
	if err != nil {
		return one, nil, fmt.Errorf("making a %s in %s: %w", m.says, owner, err)
	}
	if !made.Ok() {
		return one, nil, cannotMake(owner, m.says, made)
	}
	free := func() {
		cleanUp(ctx, func(ctx context.Context) error { _, err := one.free(ctx, owner); return err })
	}
	own, err := one.see(ctx, owner)
	if err == nil && !own.Ok() {
		err = fmt.Errorf("it does not find its own: %s", own)
	}
	if err != nil {
		free()
		return one, nil, fmt.Errorf("looking for a %s in %s: %w", m.says, owner, err)
	}
	return one, free, nil
}

func onHost(m mechanism) requirement.Requirement {
	r := requirement.Requirement{
		ID:           "container/" + m.id + "-host-ipc",
		Title:        "A " + m.says + " of a hostIPC pod is there for another hostIPC pod on the node and for the node itself, and the node's for the pod.",
		Level:        requirement.Must,
		Clause:       hostIPCField,
		Why:          "Monitoring and database agents run with hostIPC to reach what programs on the node have made. Without it they find nothing and say so late.",
		PodSecurity:  "privileged",
		PerNode:      true,
		Roles:        []world.Role{world.HostIPC, world.OtherHostIPC},
		Wants:        []world.Role{world.Node},
		Check:        func(ctx context.Context, env *requirement.Env) error { return checkOnHost(ctx, env, m) },
		Control:      noHostIPC(),
		MoreControls: halfHostIPC(),
	}
	if m.inDevShm {
		r.Level = requirement.Should
		r.Clause = requirement.Clause{
			URL:  "https://man7.org/linux/man-pages/man7/shm_overview.7.html",
			Says: "POSIX objects are files on the tmpfs at /dev/shm. That a hostIPC pod gets the host's mount follows from sharing the namespace; no sentence of Kubernetes says it.",
		}
	}
	return r
}

// noHostIPC is the control of what hostIPC gives.
func noHostIPC() requirement.Control {
	return requirement.Control{
		Says:    "a pod without hostIPC",
		Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.HostIPC: world.Near}},
		Red:     []requirement.Reason{requirement.NotShared},
	}
}

// halfHostIPC are the controls of each end that a hostIPC pod shares with: another such pod, and the node.
func halfHostIPC() []requirement.Control {
	return []requirement.Control{
		{Says: "a pod without hostIPC in place of the other one",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.OtherHostIPC: world.Near}},
			Red:     []requirement.Reason{requirement.NotShared}},
		{Says: "a pod without hostIPC in place of the node",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Node: world.Near}},
			Red:     []requirement.Reason{requirement.NotShared}, Wants: []world.Role{world.Node}},
	}
}

// checkOnHost says whether a hostIPC pod shares objects with another such pod and with the node.
func checkOnHost(ctx context.Context, env *requirement.Env, m mechanism) error {
	pod := env.Role(world.HostIPC)
	if err := sharesBothWays(ctx, m, pod, env.Role(world.OtherHostIPC)); err != nil {
		return err
	}
	return foundByNode(ctx, env, m)
}

// foundByNode says whether a hostIPC pod shares objects with the node.
func foundByNode(ctx context.Context, env *requirement.Env, m mechanism) error {
	pod := env.Role(world.HostIPC)
	node := env.OnNode(world.Node, pod.Node)
	if node == nil {
		env.Note("not tried with the node itself: no agent is admitted there")
		return nil
	}
	return sharesBothWays(ctx, m, pod, node)
}

// sharesBothWays says whether each end finds the object that the other makes.
func sharesBothWays(ctx context.Context, m mechanism, pod, other *requirement.End) error {
	for _, way := range []struct{ from, to *requirement.End }{{pod, other}, {other, pod}} {
		one, free, err := m.made(ctx, way.from)
		if err != nil {
			return err
		}
		seen, err := one.see(ctx, way.to)
		free()
		if err != nil {
			return fmt.Errorf("looking for a %s in %s: %w", m.says, way.to, err)
		}
		if !seen.Ok() {
			return &requirement.Failure{Reason: requirement.NotShared, From: way.from, To: way.to, Target: one.says, Protocol: m.says,
				Expected: "the " + m.says + " to be there", Observed: opened(seen), Again: "ipcs -a; ls /dev/shm"}
		}
	}
	return nil
}
