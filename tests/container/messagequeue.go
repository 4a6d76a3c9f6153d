package container

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

func posixMessageQueue() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/posix-message-queue",
		Title: "mq_open of one name joins two containers of a pod: the most urgent message comes first, an exit message of the lowest " +
			"priority last, and a full queue holds its sender up.",
		Level:  requirement.Must,
		Clause: podsShareIPC,
		Why: "The queue lives in the pod's IPC namespace and needs no mount. Real-time programs rest on its order, and on a sender " +
			"that waits when the reader falls behind.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check:   checkPosixQueue,
		Control: twoPods(),
	}
}

// urgent are messages in the order of sending, and of arrival: the oldest of the highest priority first.
var urgent = []struct {
	text     string
	priority uint32
	arrives  int
}{{"exit", 0, 4}, {"low", 1, 3}, {"high", 9, 0}, {"first of the middle", 5, 1}, {"second of the middle", 5, 2}}

func checkPosixQueue(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	q := posixQueue{name: newName()}
	if made, err := q.ask(ctx, a, wire.MQueue{Do: "create"}); err != nil {
		return err
	} else if !made.Ok() {
		return cannotMake(a, "POSIX message queue", made.Errno)
	}
	defer cleanUp(ctx, func(ctx context.Context) error { _, err := q.ask(ctx, a, wire.MQueue{Do: "remove"}); return err })
	if open, err := q.ask(ctx, b, wire.MQueue{Do: "open"}); err != nil {
		return err
	} else if !open.Ok() {
		return q.fail(requirement.NotShared, a, b, "the sibling to find the queue", open.Errno.String())
	}
	for _, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
		if err := q.inOrder(ctx, way.from, way.to); err != nil {
			return err
		}
		if err := q.held(ctx, way.from, way.to); err != nil {
			return err
		}
	}
	return nil
}

type posixQueue struct{ name string }

// inOrder judges the order of arrival.
func (q posixQueue) inOrder(ctx context.Context, from, to *requirement.End) error {
	want := make([][]byte, len(urgent))
	for _, m := range urgent {
		want[m.arrives] = []byte(m.text)
		put, err := q.ask(ctx, from, wire.MQueue{Do: "send", Messages: [][]byte{[]byte(m.text)}, Priority: m.priority})
		if err != nil {
			return err
		}
		if !put.Ok() {
			return q.fail(requirement.Broken, from, to, "the queue to take a message", put.Errno.String())
		}
	}
	got, err := q.ask(ctx, to, wire.MQueue{Do: "receive", Count: len(urgent)})
	if err != nil {
		return err
	}
	if !slices.EqualFunc(want, got.Messages, bytes.Equal) {
		return q.fail(requirement.Broken, from, to, fmt.Sprintf("%q in this order", want), fmt.Sprintf("%q, %s", got.Messages, got.Errno))
	}
	return nil
}

// held sends more than the queue holds: it fills to its limit, its sender waits, and all of it comes as it went.
func (q posixQueue) held(ctx context.Context, from, to *requirement.End) error {
	limit, err := setting(ctx, from, "fs/mqueue/msg_default", 10) // the default of mq_overview(7)
	if err != nil {
		return err
	}
	sent := make([][]byte, limit+20)
	for i := range sent {
		sent[i] = make([]byte, 1+i*37)
		rand.Read(sent[i])
	}
	type end struct {
		seen wire.QueueResult
		err  error
	}
	over := make(chan end, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		seen, err := q.ask(ctx, from, wire.MQueue{Do: "send", Messages: sent, Timeout: sleepsFor})
		over <- end{seen, err}
	}()
	_, err = until.Settled(ctx, until.Policy{Within: sleepsWithin, Every: 5 * time.Millisecond}, func(ctx context.Context) error {
		now, err := q.ask(ctx, to, wire.MQueue{Do: "stat"})
		if err == nil && now.Depth != limit {
			err = q.fail(requirement.NotShared, from, to, fmt.Sprintf("the queue to fill to its limit of %d", limit), fmt.Sprintf("%d messages, %s", now.Depth, now.Errno))
		}
		return err
	})
	if err != nil {
		return err
	}
	got, err := q.ask(ctx, to, wire.MQueue{Do: "receive", Count: len(sent), Timeout: sleepsFor})
	if err != nil {
		return err
	}
	if !slices.EqualFunc(sent, got.Messages, bytes.Equal) {
		return q.fail(requirement.Broken, from, to, fmt.Sprintf("%d messages in the order in which they were sent", len(sent)),
			fmt.Sprintf("%d messages, %s", len(got.Messages), got.Errno))
	}
	switch put := <-over; {
	case put.err != nil:
		return put.err
	case !put.seen.Ok():
		return q.fail(requirement.NoAnswer, to, from, "the sender to wake once there is room", put.seen.Errno.String())
	}
	return nil
}

func (q posixQueue) ask(ctx context.Context, end *requirement.End, m wire.MQueue) (wire.QueueResult, error) {
	m.Name = q.name
	seen, err := end.MQueue(ctx, m)
	if err != nil {
		return seen, fmt.Errorf("asking %s to %s a POSIX message queue: %w", end, m.Do, err)
	}
	return seen, nil
}

func (q posixQueue) fail(reason requirement.Reason, from, to *requirement.End, expected, observed string) error {
	return &requirement.Failure{Reason: reason, From: from, To: to, Target: q.name, Protocol: "POSIX message queue",
		Expected: expected, Observed: observed, Again: "mount -t mqueue none DIR && ls DIR in both containers"}
}

// setting reads a number below /proc/sys; otherwise is what holds where it can't be read.
func setting(ctx context.Context, end *requirement.End, name string, otherwise int) (int, error) {
	got, err := end.File(ctx, wire.File{Do: "read", Path: "/proc/sys/" + name})
	if err != nil {
		return 0, fmt.Errorf("reading %s in %s: %w", name, end, err)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(got.Data))); err == nil {
		return n, nil
	}
	return otherwise, nil
}

func sysvQueueLimit() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/sysv-message-queue-limit",
		Title: "A System V queue takes as many bytes as its namespace's kernel.msgmnb says and no more, from either container, " +
			"and has room again when the sibling has read.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://man7.org/linux/man-pages/man2/msgop.2.html",
			Says: "A queue holds msg_qbytes bytes; one more message blocks its sender, or fails with EAGAIN under IPC_NOWAIT, until there is room.",
		},
		Why: "The limit is the pod's own, so no other pod's queues can use it up. A producer relies on it to be held back rather " +
			"than lose messages.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check:   checkQueueLimit,
		Control: twoPods(),
	}
}

func checkQueueLimit(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	key := newKey()
	const size = 1024
	ask := func(end *requirement.End, q wire.Queue) (wire.QueueResult, error) {
		q.Key = key
		seen, err := end.Queue(ctx, q)
		if err != nil {
			return seen, fmt.Errorf("asking %s to %s a System V queue: %w", end, q.Do, err)
		}
		return seen, nil
	}
	limit, err := setting(ctx, a, "kernel/msgmnb", 16384) // MSGMNB of msgctl(2)
	if err != nil {
		return err
	}
	limit /= size
	if limit > 4096 {
		return &requirement.Unsupported{Probed: fmt.Sprintf("kernel.msgmnb lets a queue hold %d KiB in %s: too much to fill", limit, a)}
	}
	if made, err := ask(a, wire.Queue{Do: "create"}); err != nil {
		return err
	} else if !made.Ok() {
		return cannotMake(a, "System V message queue", made.Errno)
	}
	defer cleanUp(ctx, func(ctx context.Context) error {
		_, err := a.Queue(ctx, wire.Queue{Do: "remove", Key: key})
		return err
	})
	one := [][]byte{make([]byte, size)}
	for _, step := range []struct {
		end    *requirement.End
		do     string
		count  int
		class  wire.Class
		depth  int
		expect string
	}{
		{a, "send", limit + 1, wire.TimedOut, limit, "the queue to be full after"},
		{b, "send", 1, wire.TimedOut, limit, "the sibling to find it as full, with"},
		{b, "receive", 1, wire.OK, limit - 1, "the sibling to take one and leave"},
		{a, "send", 1, wire.OK, limit, "room for one more, which makes"},
	} {
		seen, err := ask(step.end, wire.Queue{Do: step.do, Count: 1, Messages: slices.Repeat(one, step.count)})
		if err != nil {
			return err
		}
		if seen.Class != step.class || seen.Depth != step.depth {
			reason := requirement.Broken
			if seen.Class == wire.NotThere {
				reason = requirement.NotShared
			}
			return &requirement.Failure{Reason: reason, From: a, To: b, Protocol: "System V message queue",
				Target: fmt.Sprintf("queue key %#x", key), Expected: fmt.Sprintf("%s %d messages of %d bytes", step.expect, step.depth, size),
				Observed: fmt.Sprintf("%d messages, %s", seen.Depth, seen.Errno), Again: "ipcs -q in both containers"}
		}
	}
	return nil
}
