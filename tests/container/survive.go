package container

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// restartWithin bounds a container's first restart, which the kubelet does not put off.
const restartWithin = 30 * time.Second

func ipcSurvivesRestart() requirement.Requirement {
	const otherPod = "another pod in place of the restarted container"
	return requirement.Requirement{
		ID:   "container/ipc-survives-restart",
		Long: true,
		Title: "System V and POSIX objects that a container made are still there, for itself and for its sibling, after it ended and " +
			"was started again.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://github.com/kubernetes/cri-api/blob/v0.36.3/pkg/apis/runtime/v1/api.proto",
			Says: "NamespaceMode POD: the IPC namespace is common to all containers of the pod; the sandbox owns it, so it lives as long as " +
				"that and not as long as a container.",
		},
		Why: "A database finds its segment again after a crash, and a producer goes on with the queue that its consumer waits at. It also " +
			"means that what a crashed program left must be expected there.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			pod := env.NewPod(env.Role(world.SiblingA).Node, world.Container("a"), world.Container("b"))
			started, err := env.Start(ctx, pod)
			if err != nil {
				return err
			}
			a, b := started.Ends["a"], started.Ends["b"]
			var made []object
			for _, m := range mechanisms {
				one, _, err := m.made(ctx, a)
				if err != nil {
					return err
				}
				made = append(made, one)
			}
			if err := restart(ctx, env, a); err != nil {
				return err
			}
			finders := []*requirement.End{a, b}
			if env.Fixture(otherPod) {
				finders = []*requirement.End{env.Role(world.Near)}
			}
			for i, one := range made {
				for _, end := range finders {
					seen, err := one.see(ctx, end)
					if err != nil {
						return fmt.Errorf("looking for a %s in %s: %w", mechanisms[i].says, end, err)
					}
					if !seen.Ok() {
						return &requirement.Failure{Reason: requirement.NotShared, From: a, To: end, Target: one.says, Protocol: mechanisms[i].says,
							Expected: "it to be there after the restart of the container that made it", Observed: opened(seen)}
					}
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says:    otherPod,
			Variant: &requirement.Variant{Fixture: otherPod},
			Red:     []requirement.Reason{requirement.NotShared},
		},
	}
}

// restart has the end's main process end, and waits for the one that the kubelet starts after it.
func restart(ctx context.Context, env *requirement.Env, end *requirement.End) error {
	before, err := end.Identity(ctx)
	if err != nil {
		return fmt.Errorf("asking %s who it is: %w", end, err)
	}
	if err := askedToEnd(ctx, end, before.PID); err != nil {
		return err
	}
	seen, err := until.Settled(ctx, until.Policy{Within: restartWithin}, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		now, err := end.Identity(ctx)
		if err != nil {
			return fmt.Errorf("waiting for %s to come back: %w", end, err)
		}
		if now.Boot == before.Boot {
			return fmt.Errorf("%s still runs after SIGTERM", end)
		}
		return nil
	})
	env.Note("the container was back after %s", seen.Took.Round(time.Millisecond))
	return err
}

// askedToEnd has the end's agent end its own main process.
func askedToEnd(ctx context.Context, end *requirement.End, pid int) error {
	// The answer may be lost together with the agent.
	if err := signal(ctx, end, pid, unix.SIGTERM); err != nil && !errors.Is(err, probe.ErrRestarted) && !errors.Is(err, probe.ErrLost) {
		return err
	}
	return nil
}

func sysvMessageType() requirement.Requirement {
	return requirement.Requirement{
		ID:    "container/sysv-message-type",
		Long:  true,
		Title: "A consumer takes messages from its sibling's System V queue by type: those of one type alone, and the lowest type first.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://man7.org/linux/man-pages/man2/msgop.2.html",
			Says: "msgrcv takes the first message of a positive type, or of the lowest type that is no greater than a negative one's amount.",
		},
		Why: "One queue serves many clients so, each waiting for its own number, and urgent messages overtake others. " +
			"User-space kernels have their own queues, and this is what they leave out.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check:   checkMessageType,
		Control: twoPods(),
	}
}

func checkMessageType(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	key := newKey()
	fail := func(reason requirement.Reason, expected, observed string) error {
		return &requirement.Failure{Reason: reason, From: a, To: b, Target: fmt.Sprintf("queue key %#x", key), Protocol: "System V message queue",
			Expected: expected, Observed: observed, Again: "ipcs -q in both containers"}
	}
	made, err := a.Queue(ctx, wire.Queue{Do: "create", Key: key})
	if err != nil {
		return fmt.Errorf("making a queue in %s: %w", a, err)
	}
	if !made.Ok() {
		return cannotMake(a, "System V message queue", made.Errno)
	}
	defer cleanUp(ctx, func(ctx context.Context) error {
		_, err := a.Queue(ctx, wire.Queue{Do: "remove", Key: key})
		return err
	})
	for _, typ := range []int64{3, 1, 4, 2} {
		put, err := a.Queue(ctx, wire.Queue{Do: "send", Key: key, Type: typ, Messages: [][]byte{fmt.Appendf(nil, "type %d", typ)}})
		if err != nil {
			return fmt.Errorf("sending from %s: %w", a, err)
		}
		if !put.Ok() {
			return fail(requirement.Broken, "the queue to take a message", put.Errno.String())
		}
	}
	for _, take := range []struct {
		asked, comes int64
		words        string
	}{{4, 4, "type 4"}, {-3, 1, "type 3 or lower"}, {-3, 2, "type 3 or lower"}, {0, 3, "any type"}} {
		got, err := b.Queue(ctx, wire.Queue{Do: "receive", Key: key, Type: take.asked, Count: 1})
		if err != nil {
			return fmt.Errorf("receiving in %s: %w", b, err)
		}
		if len(got.Messages) != 1 {
			return fail(requirement.ReasonOf(got.Errno), "a message of "+take.words, got.Errno.String())
		}
		if want := fmt.Sprintf("type %d", take.comes); string(got.Messages[0]) != want || got.Priorities[0] != take.comes {
			return fail(requirement.Broken, fmt.Sprintf("%q when asked for %s", want, take.words), fmt.Sprintf("%q of type %d", got.Messages[0], got.Priorities[0]))
		}
	}
	return nil
}
