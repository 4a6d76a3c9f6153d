package container

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

var podsShareIPC = requirement.Clause{
	URL:  "https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking",
	Says: "The containers of a pod can also talk through System V semaphores and POSIX shared memory; containers of different pods cannot without special configuration.",
}

func sysvMessageQueue() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/sysv-message-queue",
		Title: "A producer in one container sends random messages and an exit message through a System V queue; " +
			"its sibling receives all of them, in order.",
		Level:  requirement.Must,
		Clause: podsShareIPC,
		Why: "Databases and older middleware hand work over System V queues. It rests on the pod's one IPC namespace, " +
			"which the sandbox holds and every container joins.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check:   checkMessageQueue,
		Control: requirement.Control{
			Says:    "two pods in place of two containers of one",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingB: world.Near}},
			Red:     []requirement.Reason{requirement.NotShared},
		},
	}
}

// queueMessages and queueLongest make twice what a queue holds by default (MSGMNB, 16 KiB), so that
// the producer has to block until the consumer has read.
const (
	queueMessages = 200
	queueLongest  = 320
)

func checkMessageQueue(ctx context.Context, env *requirement.Env) error {
	producer, consumer := env.Role(world.SiblingA), env.Role(world.SiblingB)
	key := newKey()
	exit := []byte("exit")
	var sent [][]byte
	for i := range queueMessages {
		m := make([]byte, 1+i*(queueLongest-1)/queueMessages)
		rand.Read(m)
		sent = append(sent, m)
	}
	sent = append(sent, exit)

	made, err := producer.Queue(ctx, wire.Queue{Do: "create", Key: key})
	if err != nil {
		return fmt.Errorf("creating a queue in %s: %w", producer, err)
	}
	if !made.Ok() {
		return fmt.Errorf("%s cannot create a System V queue: %s", producer, made.Errno)
	}
	defer cleanUp(ctx, func(ctx context.Context) error {
		_, err := producer.Queue(ctx, wire.Queue{Do: "remove", Key: key})
		return err
	})

	fail := func(expected, observed string) error {
		return &requirement.Failure{Reason: requirement.NotShared, From: producer, To: consumer,
			Target: fmt.Sprintf("queue key %#x", key), Protocol: "System V message queue", Expected: expected, Observed: observed,
			Again: "ipcs -q in both containers"}
	}
	if open, err := consumer.Queue(ctx, wire.Queue{Do: "open", Key: key}); err != nil {
		return fmt.Errorf("opening the queue in %s: %w", consumer, err)
	} else if !open.Ok() {
		return fail("the consumer to find the producer's queue", open.Errno.String())
	}
	var got, put wire.QueueResult
	both, ctx2 := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		got, err = consumer.Queue(ctx2, wire.Queue{Do: "receive", Key: key, Count: len(sent), Until: exit, Timeout: 10_000})
		return err
	})
	both.Go(func() (err error) {
		put, err = producer.Queue(ctx2, wire.Queue{Do: "send", Key: key, Messages: sent, Type: 1, Timeout: 10_000})
		return err
	})
	if err := both.Wait(); err != nil {
		return fmt.Errorf("moving messages from %s to %s: %w", producer, consumer, err)
	}
	if !put.Ok() {
		return fail(fmt.Sprintf("%d messages to be taken", len(sent)), put.Errno.String())
	}
	for i, m := range got.Messages {
		if i >= len(sent) || !bytes.Equal(m, sent[i]) {
			return fail("the messages in the order in which they were sent", fmt.Sprintf("another message at place %d", i+1))
		}
	}
	if len(got.Messages) != len(sent) {
		return fail(fmt.Sprintf("%d messages", len(sent)), fmt.Sprintf("%d messages, then %s", len(got.Messages), got.Errno))
	}
	return nil
}

// newKey is a System V key that nobody else chose: random, and never IPC_PRIVATE (0).
func newKey() int32 {
	var b [4]byte
	rand.Read(b[:])
	return int32(binary.BigEndian.Uint32(b[:])>>1 | 1)
}

func newName() string {
	var b [8]byte
	rand.Read(b[:])
	return "/parley-" + hex.EncodeToString(b[:])
}
