package fault

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/undo"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

const (
	// suspendSeen bounds the wait until what is suspended is seen to be.
	suspendSeen = 5 * time.Second
	// answerFirst is how long a kubelet goes on after it was asked to be suspended: the answer passes through it.
	answerFirst = 200 * time.Millisecond
	// healthAsked bounds a question for the kubelet's health, which takes milliseconds.
	healthAsked = 500 * time.Millisecond
)

// SuspendOnOneNode stops the process of that name (as in /proc/PID/comm) on the last node that has an agent, with
// SIGSTOP. It goes on when the fault is lifted and at the latest after the time given.
func SuspendOnOneNode(name string, during time.Duration) requirement.Point {
	return requirement.Point{Where: "process " + name + " of one node", Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		agent, err := lastAgent(env)
		if err != nil {
			return nil, err
		}
		return suspend(ctx, agent, wire.Suspend{Name: name, For: int(during.Milliseconds())})
	}}
}

// FindPod finds a pod to inject a fault in, by its node and UID: one of the cluster's own, which plays no role.
type FindPod func(context.Context, *requirement.Env) (node, uid string, err error)

// SuspendInPod stops the process of that name in the pod that find names, and in no other pod of the node, with SIGSTOP. It goes on
// when the fault is lifted and at the latest after the time given.
func SuspendInPod(find FindPod, name string, during time.Duration) requirement.Point {
	return requirement.Point{Where: "process " + name + " of one pod", Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		node, uid, err := find(ctx, env)
		if err != nil {
			return nil, err
		}
		agent := AgentOn(env, node)
		if agent == nil {
			return nil, errNoAgent
		}
		return suspend(ctx, agent, wire.Suspend{Name: name, Cgroup: uid, For: int(during.Milliseconds())})
	}}
}

// SuspendKubelet stops the kubelet of the last node that has an agent. Every exec on that node passes through it, the
// agent's own stream too, so nothing is asked of that agent meanwhile and only the time given ends the suspension: the
// control must be Alone, and the time short.
func SuspendKubelet(during time.Duration) requirement.Point {
	return requirement.Point{Where: "kubelet of one node", Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		agent, err := lastAgent(env)
		if err != nil {
			return nil, err
		}
		if err := kubeletAnswers(ctx, env, agent.Node); err != nil {
			return nil, fmt.Errorf("asking the kubelet of %s for its health before suspending it: %w", agent.Node, err)
		}
		stopped, err := agent.Suspend(ctx, wire.Suspend{Do: "stop", Name: "kubelet",
			After: int(answerFirst.Milliseconds()), For: int(during.Milliseconds())})
		if err := probe.Either(stopped.Errno, err); err != nil {
			return nil, fmt.Errorf("suspending the kubelet through %s: %w", agent, err)
		}
		h := &suspended{agent: agent, handle: stopped.Handle}
		_, err = until.Settled(ctx, until.Policy{Within: suspendSeen}, func(ctx context.Context) error {
			if kubeletAnswers(ctx, env, agent.Node) == nil {
				return fmt.Errorf("the kubelet of %s still answers", agent.Node)
			}
			return nil
		})
		if err != nil {
			return nil, lifted(ctx, h, err)
		}
		return h, nil
	}}
}

func kubeletAnswers(ctx context.Context, env *requirement.Env, node string) error {
	ctx, cancel := context.WithTimeout(ctx, healthAsked)
	defer cancel()
	return env.Kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix("healthz").Do(ctx).Error()
}

// lifted undoes what could not be seen to act, and says both.
func lifted(ctx context.Context, f requirement.Injected, why error) error {
	return errors.Join(why, undo.Do(ctx, f.Lift))
}

func lastAgent(env *requirement.Env) (*requirement.End, error) {
	nodes := env.Players.Ends(world.Node)
	if len(nodes) == 0 {
		return nil, errNoAgent
	}
	return nodes[len(nodes)-1], nil
}

func suspend(ctx context.Context, agent *requirement.End, what wire.Suspend) (requirement.Injected, error) {
	what.Do = "stop"
	stopped, err := agent.Suspend(ctx, what)
	if err := probe.Either(stopped.Errno, err); err != nil {
		return nil, fmt.Errorf("suspending %s through %s: %w", what.Name, agent, err)
	}
	h := &suspended{agent: agent, handle: stopped.Handle}
	_, err = until.Settled(ctx, until.Policy{Within: suspendSeen}, func(ctx context.Context) error {
		acted, how, err := h.Acted(ctx)
		if err == nil && !acted {
			err = fmt.Errorf("%s on %s: %s", what.Name, agent.Node, how)
		}
		return err
	})
	if err != nil {
		return nil, lifted(ctx, h, err)
	}
	return h, nil
}

type suspended struct {
	agent  *requirement.End
	handle string
	done   atomic.Bool
}

// Acted is true where all that was suspended was seen in the stopped state.
func (h *suspended) Acted(ctx context.Context) (bool, string, error) {
	seen, err := h.agent.Suspend(ctx, wire.Suspend{Do: "seen", Handle: h.handle})
	if err := probe.Either(seen.Errno, err); err != nil {
		return false, "", fmt.Errorf("asking %s what became of the suspension: %w", h.agent, err)
	}
	return seen.Stopped == len(seen.PIDs), fmt.Sprintf("%d of %d processes stopped", seen.Stopped, len(seen.PIDs)), nil
}

func (h *suspended) Lift(ctx context.Context) error {
	if h.done.Load() {
		return nil
	}
	if err := h.agent.Release(ctx, h.handle); err != nil {
		return fmt.Errorf("ending the suspension: %w", err)
	}
	h.done.Store(true)
	return nil
}
