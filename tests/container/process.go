package container

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

var (
	podSpec            = "https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodSpec"
	sharedProcessField = requirement.Clause{
		URL: podSpec,
		Says: "shareProcessNamespace: all containers of the pod share one process namespace, can see and signal each other's processes, and " +
			"no container's first process has PID 1; the default is false.",
	}
)

func processNamespacePrivate() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/process-namespace-private",
		Title:  "Unless the pod says otherwise, a container sees its own processes and nobody else's, and its first one has PID 1.",
		Level:  requirement.Must,
		Clause: sharedProcessField,
		Why: "Command lines and environments hold secrets, and who sees a process of the same UID can also stop it. " +
			"A sidecar is not to be trusted with either by default.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, end := range []*requirement.End{env.Role(world.SiblingA), env.Role(world.SiblingB)} {
				seen, err := processesSeenBy(ctx, end)
				if err != nil {
					return err
				}
				for _, p := range seen.processes {
					if !seen.own(p) {
						return processFailure(requirement.Leaked, end, nil, "no process of another container", "one: "+describeProcess(&p))
					}
				}
				if seen.id.PID != 1 {
					return processFailure(requirement.Leaked, end, nil, "PID 1 for the container's first process", fmt.Sprintf("PID %d", seen.id.PID))
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "shareProcessNamespace set",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{
				world.SiblingA: world.SharedPIDA, world.SiblingB: world.SharedPIDB}},
			Red: []requirement.Reason{requirement.Leaked},
		},
		MoreControls: []requirement.Control{
			{Says: "shareProcessNamespace set for the pod of the second container alone",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingB: world.SharedPIDB}},
				Red:     []requirement.Reason{requirement.Leaked}},
		},
	}
}

func processNamespaceShared() requirement.Requirement {
	return sharesProcesses("container/process-namespace-shared",
		"With shareProcessNamespace siblings see each other's processes, and the first process of neither has PID 1.",
		"Debuggers, log shippers and reloaders rest on it. A program that takes itself for init because it is PID 1 behaves otherwise here.",
		requirement.Must, sharedProcessField,
		func(_ context.Context, from sight, to *requirement.End, its wire.Identity) error {
			if its.PID == 1 {
				return processFailure(requirement.NotShared, from.end, to, "another first process than the containers' own", describeProcess(from.find(its)))
			}
			return nil
		})
}

func processSignal() requirement.Requirement {
	return sharesProcesses("container/process-signal",
		"With shareProcessNamespace a container stops its sibling's process by a signal and lets it go on by another, both running under one UID.",
		"Certificates and configuration are reloaded so: a sidecar fetches them and sends the server a signal.",
		requirement.Must, sharedProcessField,
		func(ctx context.Context, from sight, _ *requirement.End, its wire.Identity) error {
			defer cleanUp(ctx, func(ctx context.Context) error { return signal(ctx, from.end, its.PID, unix.SIGCONT) })
			if err := signalled(ctx, from.end, its.PID, unix.SIGSTOP, true); err != nil {
				return err
			}
			return signalled(ctx, from.end, its.PID, unix.SIGCONT, false)
		})
}

func processRoot() requirement.Requirement {
	return sharesProcesses("container/process-root",
		"With shareProcessNamespace a container reads its sibling's files under /proc/PID/root, also those of a volume that it does not mount.",
		"It is how one looks into a container without a shell. By the same way its secrets are open to the sibling.",
		requirement.Should, requirement.Clause{
			URL:  "https://kubernetes.io/docs/tasks/configure-pod-container/share-process-namespace/",
			Says: "Container file systems are visible to the pod's other containers through /proc/PID/root; only file permissions guard them.",
		},
		func(ctx context.Context, from sight, to *requirement.End, its wire.Identity) error {
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
			through := fmt.Sprintf("/proc/%d/root%s", its.PID, file)
			got, err := from.end.File(ctx, wire.File{Do: "read", Path: through})
			if err != nil {
				return fmt.Errorf("reading %s in %s: %w", through, from.end, err)
			}
			if !got.Ok() || !bytes.Equal(got.Data, data) {
				return processFailure(requirement.NotShared, from.end, to, "the sibling's file at "+through, fmt.Sprintf("%s, %d bytes", got.Errno, len(got.Data)))
			}
			return nil
		})
}

// sharesProcesses is a row about two siblings in one PID namespace: each finds the other, and then judge says more.
func sharesProcesses(id, title, why string, level requirement.Level, clause requirement.Clause,
	judge func(context.Context, sight, *requirement.End, wire.Identity) error) requirement.Requirement {
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
				if err := judge(ctx, seen, way.to, its); err != nil {
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

func hostPID() requirement.Requirement {
	return requirement.Requirement{
		ID:          "container/host-pid",
		Title:       "A hostPID pod is in the node's own PID namespace and sees the node's processes by their PIDs there.",
		Level:       requirement.Must,
		Clause:      requirement.Clause{URL: podSpec, Says: "hostPID: the pod uses the host's PID namespace; the default is false."},
		Why:         "Node exporters, profilers and security agents watch all processes of a node so.",
		Needs:       []requirement.Feature{requirement.NodeAgent},
		PodSecurity: "privileged",
		PerNode:     true,
		Roles:       []world.Role{world.HostPID, world.Node},
		Check: func(ctx context.Context, env *requirement.Env) error {
			pod := env.Role(world.HostPID)
			node := env.OnNode(world.Node, pod.Node)
			if node == nil {
				return &requirement.Unsupported{Probed: "no agent is admitted on the node " + pod.Node + " itself"}
			}
			seen, err := processesSeenBy(ctx, pod)
			if err != nil {
				return err
			}
			its, err := node.Identity(ctx)
			if err != nil {
				return fmt.Errorf("asking %s who it is: %w", node, err)
			}
			if p := seen.at(its.PID); p == nil || len(p.Args) == 0 || p.Args[0] != "/agent" {
				return processFailure(requirement.NotShared, pod, node, fmt.Sprintf("the node's process with PID %d", its.PID), describeProcess(p))
			}
			env.Note("%d processes seen", len(seen.processes))
			return ofTheNode(ctx, env, "pid", pod)
		},
		Control: requirement.Control{
			Says:    "a pod without hostPID",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.HostPID: world.Near}},
			Red:     []requirement.Reason{requirement.NotShared},
		},
	}
}

// sight is what one end sees of processes.
type sight struct {
	end       *requirement.End
	id        wire.Identity
	processes []wire.ProcessInfo
}

func processesSeenBy(ctx context.Context, end *requirement.End) (sight, error) {
	id, err := end.Identity(ctx)
	if err != nil {
		return sight{}, fmt.Errorf("asking %s who it is: %w", end, err)
	}
	list, err := end.Process(ctx, wire.Process{Do: "list"})
	if err != nil {
		return sight{}, fmt.Errorf("listing the processes that %s sees: %w", end, err)
	}
	if !list.Ok() {
		return sight{}, fmt.Errorf("%s cannot list /proc: %s", end, list.Errno)
	}
	return sight{end, id, list.Processes}, nil
}

// own says whether a process is of the end's own container: it has the same mount namespace. Where the kernel tells
// none, what is neither the agent nor one of its relays is somebody else's.
func (s sight) own(p wire.ProcessInfo) bool {
	if mine := s.id.Namespaces["mnt"]; mine != 0 {
		return p.Mount == mine
	}
	return p.PID == s.id.PID || len(p.Args) > 1 && p.Args[1] == "relay"
}

// at is the process with the PID, nil where there is none.
func (s sight) at(pid int) *wire.ProcessInfo {
	for _, p := range s.processes {
		if p.PID == pid {
			return &p
		}
	}
	return nil
}

// find is another agent's process, nil where it is not seen. In one PID namespace it has the PID that it has for
// itself; the mount namespace, where the kernel tells it, tells it from another process that has this PID here.
func (s sight) find(its wire.Identity) *wire.ProcessInfo {
	p := s.at(its.PID)
	if p == nil || its.PID == s.id.PID || p.Mount != 0 && p.Mount != its.Namespaces["mnt"] {
		return nil
	}
	return p
}

func describeProcess(p *wire.ProcessInfo) string {
	if p == nil {
		return "no such process"
	}
	return fmt.Sprintf("PID %d, UID %d: %s", p.PID, p.UID, strings.Join(p.Args, " "))
}

func processFailure(reason requirement.Reason, from, to *requirement.End, expected, observed string) error {
	return &requirement.Failure{Reason: reason, From: from, To: to, Target: "/proc", Protocol: "processes", Expected: expected, Observed: observed}
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

// signalled sends a signal and waits until the process is seen stopped, or no longer so.
func signalled(ctx context.Context, from *requirement.End, pid int, sig unix.Signal, stopped bool) error {
	if err := signal(ctx, from, pid, sig); err != nil {
		return err
	}
	_, err := until.Settled(ctx, until.Policy{Within: sleepsWithin, Every: 5 * time.Millisecond}, func(ctx context.Context) error {
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
