package container

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

func sysvSemaphore() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/sysv-semaphore",
		Title:  "semop blocks in one container until its sibling raises the semaphore, and until its sibling lowers it to zero, in both directions.",
		Level:  requirement.Must,
		Clause: podsShareIPC,
		Why: "Programs that share a segment guard it with a semaphore. Finding it by key is half of the promise: the other half is " +
			"that a waiter in another container really sleeps, and really wakes.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			s := semaphore{one: wire.Sem{Key: newKey()}, protocol: "System V semaphore", again: "ipcs -s in both containers"}
			return s.check(ctx, env, 0)
		},
		Control: twoPods(),
	}
}

func posixSemaphore() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/posix-semaphore",
		Title:  "sem_open of one name in two containers of a pod joins both: a waiter sleeps until its sibling posts, in both directions.",
		Level:  requirement.Must,
		Clause: podsShareIPC,
		Why: "A named semaphore is a small file in /dev/shm and a futex in it. It works only where both containers map the very same " +
			"page, since the kernel knows a futex by its page and not by its name.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			s := semaphore{one: wire.Sem{Name: newName()}, protocol: "POSIX semaphore", again: "ls -l /dev/shm/sem.* in both containers"}
			return s.check(ctx, env)
		},
		Control: ownDevShm(),
	}
}

// semaphore is one that two containers wait on in turn.
type semaphore struct {
	one             wire.Sem // its key or name
	protocol, again string
}

const (
	// sleepsWithin bounds the wait until a sleeper is seen to sleep: what can't be found fails before.
	sleepsWithin = 5 * time.Second
	// sleepsFor bounds the sleep, in milliseconds.
	sleepsFor = 10_000
)

// check has each side wait for the other: for a value above zero, and for those of others that are given.
func (s semaphore) check(ctx context.Context, env *requirement.Env, others ...int) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	made, err := s.ask(ctx, a, "create", 0)
	if err != nil {
		return err
	}
	if !made.Ok() {
		return cannotMake(a, s.protocol, made.Errno)
	}
	defer cleanUp(ctx, func(ctx context.Context) error { _, err := s.ask(ctx, a, "remove", 0); return err })
	if open, err := s.ask(ctx, b, "open", 0); err != nil {
		return err
	} else if !open.Ok() {
		return s.fail(requirement.NotShared, a, b, "the sibling to find the semaphore", open.Errno.String())
	}
	for _, way := range []struct{ sleeper, waker *requirement.End }{{a, b}, {b, a}} {
		if err := s.sleep(ctx, way.sleeper, way.waker, -1, 1); err != nil {
			return err
		}
		for _, value := range others {
			if up, err := s.ask(ctx, way.waker, "add", 1); err != nil {
				return err
			} else if !up.Ok() {
				return s.fail(requirement.Broken, way.waker, way.sleeper, "the semaphore to be raised", up.Errno.String())
			}
			if err := s.sleep(ctx, way.sleeper, way.waker, value, -1); err != nil {
				return err
			}
		}
	}
	return nil
}

// sleep has the sleeper wait for what the waker's operation brings about.
func (s semaphore) sleep(ctx context.Context, sleeper, waker *requirement.End, asleep, wakes int) error {
	type end struct {
		seen wire.SemResult
		err  error
	}
	over := make(chan end, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		seen, err := s.ask(ctx, sleeper, "add", asleep)
		over <- end{seen, err}
	}()
	var early *end
	_, err := until.Settled(ctx, until.Policy{Within: sleepsWithin, Every: 5 * time.Millisecond}, func(ctx context.Context) error {
		select {
		case e := <-over:
			early = &e
			return nil
		default:
		}
		now, err := s.ask(ctx, waker, "get", 0)
		switch {
		case err != nil:
			return err
		case !now.Ok():
			return s.fail(requirement.NotShared, sleeper, waker, "the sibling to find the semaphore", now.Errno.String())
		case now.Waiting == 0:
			return s.fail(requirement.NotShared, sleeper, waker, "one that waits for the semaphore", fmt.Sprintf("nobody waiting, value %d", now.Value))
		}
		return nil
	})
	switch {
	case early != nil && early.err != nil:
		return early.err
	case early != nil:
		return s.fail(requirement.Broken, sleeper, waker, "the semaphore to block until the sibling's turn", "an answer at once: "+early.seen.Errno.String())
	case err != nil:
		return err
	}
	up, err := s.ask(ctx, waker, "add", wakes)
	if err != nil {
		return err
	}
	if !up.Ok() {
		return s.fail(requirement.Broken, waker, sleeper, "the sibling to change the semaphore", up.Errno.String())
	}
	woken := <-over
	switch {
	case woken.err != nil:
		return woken.err
	case !woken.seen.Ok():
		return s.fail(requirement.NoAnswer, waker, sleeper, "the sleeper to wake", woken.seen.Errno.String())
	case woken.seen.Value != 0:
		return s.fail(requirement.Broken, waker, sleeper, "the value 0 after it", fmt.Sprint(woken.seen.Value))
	}
	return nil
}

func (s semaphore) ask(ctx context.Context, end *requirement.End, do string, value int) (wire.SemResult, error) {
	one := s.one
	one.Do, one.Value, one.Timeout = do, value, sleepsFor
	seen, err := end.Sem(ctx, one)
	if err != nil {
		return seen, fmt.Errorf("asking %s to %s a %s: %w", end, do, s.protocol, err)
	}
	return seen, nil
}

func (s semaphore) fail(reason requirement.Reason, from, to *requirement.End, expected, observed string) error {
	return &requirement.Failure{Reason: reason, From: from, To: to, Target: s.one.Name, Protocol: s.protocol,
		Expected: expected, Observed: observed, Again: s.again}
}
