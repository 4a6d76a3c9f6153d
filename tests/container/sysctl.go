package container

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func ipcSysctl() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/ipc-sysctl",
		Title: "A safe sysctl of the IPC namespace that the pod asks for (kernel.shm_rmid_forced) is in force in all its containers, " +
			"and not in another pod.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/",
			Says: "securityContext.sysctls sets namespaced kernel parameters for all containers of the pod; kernel.shm_rmid_forced is in the " +
				"safe set, which has no influence on other pods and is enabled by default. A conformance test asks for this one.",
		},
		Why: "Databases tune their queues and segments so. What is asked for is seen by its effect: a segment vanishes when the " +
			"last one has let go of it.",
		PerNode: true,
		Roles:   []world.Role{world.SysctlA, world.SysctlB, world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			a, b := env.Role(world.SysctlA), env.Role(world.SysctlB)
			for _, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
				if gone, err := segmentGoes(ctx, way.from, way.to); err != nil {
					return err
				} else if !gone {
					return sysctlFailure(requirement.WrongSetting, way.from, way.to, "the segment to vanish after its last use, as with shm_rmid_forced=1", "it still there")
				}
			}
			near := env.Role(world.Near)
			if gone, err := segmentGoes(ctx, near, near); err != nil {
				return err
			} else if gone {
				return sysctlFailure(requirement.Leaked, a, near, "a segment of another pod to stay after its last use", "it gone, as with shm_rmid_forced=1")
			}
			return nil
		},
		Control: requirement.Control{
			Says: "no sysctl in the pod",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{
				world.SysctlA: world.SiblingA, world.SysctlB: world.SiblingB}},
			Red: []requirement.Reason{requirement.WrongSetting},
		},
	}
}

// segmentGoes makes a segment in one end, attaches it once, and says whether the other end then finds it no more.
func segmentGoes(ctx context.Context, maker, finder *requirement.End) (bool, error) {
	key := newKey()
	for _, step := range []wire.Shm{{Do: "create", Key: key, Size: 4096}, {Do: "write", Key: key, Data: []byte("used")}} {
		done, err := maker.Shm(ctx, step)
		if err != nil {
			return false, fmt.Errorf("asking %s to %s a System V segment: %w", maker, step.Do, err)
		}
		if !done.Ok() {
			return false, cannotMake(maker, "System V segment", done.Errno)
		}
	}
	defer cleanUp(ctx, func(ctx context.Context) error {
		_, err := maker.Shm(ctx, wire.Shm{Do: "remove", Key: key})
		return err
	})
	seen, err := finder.Shm(ctx, wire.Shm{Do: "open", Key: key})
	if err != nil {
		return false, fmt.Errorf("looking for a System V segment in %s: %w", finder, err)
	}
	return seen.Class == wire.NotThere, nil
}

func sysctlFailure(reason requirement.Reason, from, to *requirement.End, expected, observed string) error {
	return &requirement.Failure{Reason: reason, From: from, To: to, Target: "kernel.shm_rmid_forced", Protocol: "sysctl",
		Expected: expected, Observed: observed, Again: "cat /proc/sys/kernel/shm_rmid_forced in the containers"}
}
