package container

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

const devShmPath = "/dev/shm"

func devShm() requirement.Requirement {
	return requirement.Requirement{
		ID:    "container/dev-shm",
		Title: "Every container has a tmpfs at /dev/shm that it may write to; how large it is is reported.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://man7.org/linux/man-pages/man7/shm_overview.7.html",
			Says: "POSIX shared memory is files on a tmpfs, normally mounted at /dev/shm. A runtime gives each pod one of its own.",
		},
		Why: "shm_open and sem_open fail without it, and browsers, databases and machine learning crash once it is full: " +
			"runtimes make it 64 MiB, whatever the pod's memory limit.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, end := range []*requirement.End{env.Role(world.SiblingA), env.Role(world.SiblingB)} {
				options, err := shmMount(ctx, end)
				if err != nil {
					return err
				}
				if put, err := shmWrite(ctx, end, 64*1024); err != nil {
					return err
				} else if !put.Ok() {
					return shmFailure(requirement.ReasonOf(put), end, "a file of 64 KiB to be written", put.String())
				}
				env.Note("%s: %s", end.Container, options)
			}
			return nil
		},
		Control: requirement.Control{
			Says:    "a read-only mount there",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingA: world.ReadOnlyShm}},
			Red:     []requirement.Reason{requirement.Denied},
		},
	}
}

func devShmLimit() requirement.Requirement {
	return requirement.Requirement{
		ID:    "container/dev-shm-size-limit",
		Title: "An emptyDir of medium Memory mounted at /dev/shm is a tmpfs that takes as much as its sizeLimit says, and no more (ENOSPC).",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/storage/volumes/#emptydir",
			Says: "An emptyDir of medium Memory is a tmpfs, whose size is its sizeLimit; without one it follows the memory that the pod or node has.",
		},
		Why: "It is the way to a /dev/shm of another size than the runtime's. A limit that nobody holds fills the node's memory " +
			"until the kernel kills.",
		PerNode: true,
		Roles:   []world.Role{world.LimitedShm},
		Check: func(ctx context.Context, env *requirement.Env) error {
			end := env.Role(world.LimitedShm)
			if _, err := shmMount(ctx, end); err != nil {
				return err
			}
			if put, err := shmWrite(ctx, end, world.ShmLimit/2); err != nil {
				return err
			} else if !put.Ok() {
				return shmFailure(requirement.ReasonOf(put), end, fmt.Sprintf("room for half of the limit of %d bytes", world.ShmLimit), put.String())
			}
			put, err := shmWrite(ctx, end, 2*world.ShmLimit)
			if err != nil || put.Class == wire.Full {
				return err
			}
			observed := put.String()
			if put.Ok() {
				observed = "all of them written"
			}
			return shmFailure(requirement.Unbounded, end, fmt.Sprintf("ENOSPC for %d bytes where the limit is %d", 2*world.ShmLimit, world.ShmLimit), observed)
		},
		Control: requirement.Control{
			Says:    "no sizeLimit",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.LimitedShm: world.UnlimitedShm}},
			Red:     []requirement.Reason{requirement.Unbounded},
		},
	}
}

// shmMount judges that a tmpfs is mounted at /dev/shm, and tells its options (proc_pid_mountinfo(5)).
func shmMount(ctx context.Context, end *requirement.End) (string, error) {
	got, err := end.File(ctx, wire.File{Do: "read", Path: "/proc/self/mountinfo"})
	if err != nil {
		return "", fmt.Errorf("reading the mounts of %s: %w", end, err)
	}
	found := "nothing mounted there"
	for line := range strings.Lines(string(got.Data)) {
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		if len(fields) < 5 || fields[4] != devShmPath || dash < 0 || dash+3 >= len(fields) {
			continue
		}
		found = fmt.Sprintf("a %s, %s", fields[dash+1], fields[dash+3]) // the last of several covers the others
	}
	if !strings.HasPrefix(found, "a tmpfs") {
		return found, shmFailure(requirement.NotShared, end, "a tmpfs", found)
	}
	return found, nil
}

// shmWrite writes a file and removes it.
func shmWrite(ctx context.Context, end *requirement.End, size int) (wire.Errno, error) {
	file := devShmPath + newName()
	put, err := end.File(ctx, wire.File{Do: "write", Path: file, Data: make([]byte, size)})
	if err != nil {
		return put.Errno, fmt.Errorf("writing to %s in %s: %w", devShmPath, end, err)
	}
	cleanUp(ctx, func(ctx context.Context) error {
		_, err := end.File(ctx, wire.File{Do: "remove", Path: file})
		return err
	})
	return put.Errno, nil
}

func shmFailure(reason requirement.Reason, end *requirement.End, expected, observed string) error {
	return &requirement.Failure{Reason: reason, From: end, Target: devShmPath, Protocol: "tmpfs", Expected: expected, Observed: observed,
		Again: "findmnt " + devShmPath + " in the container"}
}
