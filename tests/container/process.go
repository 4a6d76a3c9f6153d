package container

import (
	"context"
	"fmt"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
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
		func(_ context.Context, _ *requirement.Env, from sight, to *requirement.End, its wire.Identity) error {
			if its.PID == 1 {
				return processFailure(requirement.NotShared, from.end, to, "another first process than the containers' own", describeProcess(from.find(its)))
			}
			return nil
		})
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
