package container

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func posixSharedMemory() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/posix-shared-memory",
		Title:  "shm_open of one name in two containers of a pod gives both the same memory, in both directions.",
		Level:  requirement.Must,
		Clause: podsShareIPC,
		Why: "The fastest way between two containers. It rests on the runtime mounting the sandbox's /dev/shm into every container, " +
			"which is a mount and not the IPC namespace, and was really missing in several runtimes.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return sharedMemory(ctx, env, wire.Shm{Name: newName()}, "POSIX shared memory", "ls -l /dev/shm in both containers")
		},
		Control: ownDevShm(),
	}
}

func sysvSharedMemory() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/sysv-shared-memory",
		Title:  "A System V segment that one container writes its sibling reads, and what the sibling writes into it comes back: one memory, no copy.",
		Level:  requirement.Must,
		Clause: podsShareIPC,
		Why: "Databases keep their buffers in such a segment, and helpers beside them attach it by key. It rests on the pod's one " +
			"IPC namespace and needs no mount.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return sharedMemory(ctx, env, wire.Shm{Key: newKey()}, "System V shared memory", "ipcs -m in both containers")
		},
		Control: twoPods(),
	}
}

// twoPods is the control of what siblings share through a namespace of the pod.
func twoPods() requirement.Control {
	return requirement.Control{
		Says:    "two pods in place of two containers of one",
		Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingB: world.Near}},
		Red:     []requirement.Reason{requirement.NotShared},
	}
}

// ownDevShm is the control of what siblings share through /dev/shm.
func ownDevShm() requirement.Control {
	return requirement.Control{
		Says: "a container with a tmpfs of its own on /dev/shm",
		Variant: &requirement.Variant{Roles: map[world.Role]world.Role{
			world.SiblingA: world.OwnShmA, world.SiblingB: world.OwnShmB}},
		Red: []requirement.Reason{requirement.NotShared},
	}
}

// sharedMemory writes over the same bytes of one object from either side: a copy would show the other's last ones.
func sharedMemory(ctx context.Context, env *requirement.Env, one wire.Shm, protocol, again string) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	const size = 1 << 20
	ask := func(end *requirement.End, do string, data []byte) (wire.ShmResult, error) {
		s := one
		s.Do, s.Data, s.Size = do, data, size
		seen, err := end.Shm(ctx, s)
		if err != nil {
			return seen, fmt.Errorf("asking %s to %s %s: %w", end, do, protocol, err)
		}
		return seen, nil
	}
	if made, err := ask(a, "create", nil); err != nil {
		return err
	} else if !made.Ok() {
		return cannotMake(a, protocol, made.Errno)
	}
	defer cleanUp(ctx, func(ctx context.Context) error {
		s := one
		s.Do = "remove"
		_, err := a.Shm(ctx, s)
		return err
	})
	for _, way := range []struct{ writer, reader *requirement.End }{{a, b}, {b, a}} {
		fail := func(expected, observed string) error {
			return &requirement.Failure{Reason: requirement.NotShared, From: way.writer, To: way.reader, Target: one.Name,
				Protocol: protocol, Expected: expected, Observed: observed, Again: again}
		}
		data := make([]byte, size)
		rand.Read(data)
		put, err := ask(way.writer, "write", data)
		if err != nil {
			return err
		}
		if !put.Ok() {
			return fail("the writer to open the object", put.Errno.String())
		}
		got, err := ask(way.reader, "read", nil)
		if err != nil {
			return err
		}
		if !got.Ok() {
			return fail("the reader to find the object", got.Errno.String())
		}
		if !bytes.Equal(got.Data, data) {
			return fail("the bytes that were written", "other bytes")
		}
	}
	return nil
}

// cannotMake is the answer of a kernel that does not know the thing at all, or a check that could not be judged.
func cannotMake(end *requirement.End, what string, e wire.Errno) error {
	if e.Class == wire.Unsupported {
		return &requirement.Unsupported{Probed: fmt.Sprintf("the kernel below %s has no %s: %s", end, what, e)}
	}
	return fmt.Errorf("%s cannot make a %s: %s", end, what, e)
}
