package container

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// Variants of what a container does to its sibling.
const (
	firstProcess = "the first process of their PID namespace in the sibling's place, which the kernel guards"
	idleSignal   = "a signal that changes nothing in place of SIGCONT"
	ownRoot      = "its own root directory in place of its sibling's"
)

func processSignal() requirement.Requirement {
	r := sharesProcesses("container/process-signal",
		"With shareProcessNamespace a container stops its sibling's process by a signal and lets it go on by another, both running under one UID.",
		"Certificates and configuration are reloaded so: a sidecar fetches them and sends the server a signal.",
		requirement.Must, sharedProcessField,
		func(ctx context.Context, env *requirement.Env, from sight, _ *requirement.End, its wire.Identity) error {
			stopped, onward := its.PID, unix.SIGCONT
			if env.Fixture(firstProcess) {
				stopped = 1
			}
			if env.Fixture(idleSignal) {
				onward = unix.SIGWINCH
			}
			defer cleanUp(ctx, func(ctx context.Context) error { return signal(ctx, from.end, its.PID, unix.SIGCONT) })
			if err := signalled(ctx, env, from.end, stopped, unix.SIGSTOP, true); err != nil {
				return err
			}
			return signalled(ctx, env, from.end, stopped, onward, false)
		})
	r.MoreControls = []requirement.Control{
		// Of another UID as a rule (Denied); of the same one a signal of its own namespace does not stop it (Broken).
		{Says: firstProcess, Variant: &requirement.Variant{Fixture: firstProcess}, Red: []requirement.Reason{requirement.Denied, requirement.Broken}},
		{Says: idleSignal, Variant: &requirement.Variant{Fixture: idleSignal}, Red: []requirement.Reason{requirement.Broken}},
	}
	return r
}

func processRoot() requirement.Requirement {
	r := sharesProcesses("container/process-root",
		"With shareProcessNamespace a container reads its sibling's files under /proc/PID/root, also those of a volume that it does not mount.",
		"It is how one looks into a container without a shell. By the same way its secrets are open to the sibling.",
		requirement.Should, requirement.Clause{
			URL:  "https://kubernetes.io/docs/tasks/configure-pod-container/share-process-namespace/",
			Says: "Container file systems are visible to the pod's other containers through /proc/PID/root; only file permissions guard them.",
		},
		func(ctx context.Context, env *requirement.Env, from sight, to *requirement.End, its wire.Identity) error {
			if to.Container != "b" {
				return nil // the other one has no directory that it may write to
			}
			file, data := world.SharedPath+newName(), make([]byte, 4096)
			rand.Read(data)
			put, err := to.File(ctx, wire.File{Do: "write", Path: file, Data: data, Mode: 0o644})
			if err != nil {
				return fmt.Errorf("writing %s in %s: %w", file, to, err)
			}
			if !put.Ok() {
				return fmt.Errorf("%s cannot write %s: %s", to, file, put.Errno)
			}
			defer cleanUp(ctx, func(ctx context.Context) error {
				_, err := to.File(ctx, wire.File{Do: "remove", Path: file})
				return err
			})
			of := its.PID
			if env.Fixture(ownRoot) {
				of = from.id.PID
			}
			through := fmt.Sprintf("/proc/%d/root%s", of, file)
			got, err := from.end.File(ctx, wire.File{Do: "read", Path: through})
			if err != nil {
				return fmt.Errorf("reading %s in %s: %w", through, from.end, err)
			}
			if !got.Ok() || !bytes.Equal(got.Data, data) {
				return processFailure(requirement.NotShared, from.end, to, "the sibling's file at "+through, fmt.Sprintf("%s, %d bytes", got.Errno, len(got.Data)))
			}
			return nil
		})
	// The volume is in the sibling's root alone.
	r.MoreControls = []requirement.Control{
		{Says: ownRoot, Variant: &requirement.Variant{Fixture: ownRoot}, Red: []requirement.Reason{requirement.NotShared}},
	}
	return r
}

// sharesProcesses is a row about two siblings in one PID namespace: each finds the other, and then judge says more.
func sharesProcesses(id, title, why string, level requirement.Level, clause requirement.Clause,
	judge func(context.Context, *requirement.Env, sight, *requirement.End, wire.Identity) error) requirement.Requirement {
	return requirement.Requirement{
		ID: id, Title: title, Level: level, Clause: clause, Why: why,
		PerNode: true,
		Roles:   []world.Role{world.SharedPIDA, world.SharedPIDB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			a, b := env.Role(world.SharedPIDA), env.Role(world.SharedPIDB)
			for _, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
				seen, err := processesSeenBy(ctx, way.from)
				if err != nil {
					return err
				}
				its, err := way.to.Identity(ctx)
				if err != nil {
					return fmt.Errorf("asking %s who it is: %w", way.to, err)
				}
				if seen.find(its) == nil {
					return processFailure(requirement.NotShared, way.from, way.to,
						fmt.Sprintf("the sibling's process, which has PID %d for itself", its.PID), fmt.Sprintf("%d processes, none of them it", len(seen.processes)))
				}
				if err := judge(ctx, env, seen, way.to, its); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "shareProcessNamespace off",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{
				world.SharedPIDA: world.SiblingA, world.SharedPIDB: world.SiblingB}},
			Red: []requirement.Reason{requirement.NotShared},
		},
	}
}

func signal(ctx context.Context, from *requirement.End, pid int, sig unix.Signal) error {
	sent, err := from.Process(ctx, wire.Process{Do: "signal", PID: pid, Signal: int(sig)})
	if err != nil {
		return fmt.Errorf("sending %s from %s: %w", sig, from, err)
	}
	if !sent.Ok() {
		return processFailure(requirement.ReasonOf(sent.Errno), from, nil, fmt.Sprintf("%s to be delivered to PID %d", sig, pid), sent.Errno.String())
	}
	return nil
}

// signalled sends a signal and waits until the process is seen stopped, or no longer so. A sibling that a control leaves stopped
// is not kept so for long: other requirements ask it, too.
func signalled(ctx context.Context, env *requirement.Env, from *requirement.End, pid int, sig unix.Signal, stopped bool) error {
	if err := signal(ctx, from, pid, sig); err != nil {
		return err
	}
	within := sleepsWithin
	if env.Patience == 0 {
		within = 500 * time.Millisecond
	}
	_, err := until.Settled(ctx, until.Policy{Within: within, Every: 5 * time.Millisecond}, func(ctx context.Context) error {
		seen, err := processesSeenBy(ctx, from)
		if err != nil {
			return err
		}
		if p := seen.at(pid); p == nil || (p.State == "T") != stopped {
			observed := describeProcess(p)
			if p != nil {
				observed += ", in state " + p.State
			}
			return processFailure(requirement.Broken, from, nil, fmt.Sprintf("%s to act on PID %d", sig, pid), observed)
		}
		return nil
	})
	return err
}
