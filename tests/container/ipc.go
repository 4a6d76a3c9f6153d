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
		Roles: []world.Role{world.SiblingA, world.SiblingB},
		Check: checkMessageQueue,
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
	var got, put wire.QueueSeen
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

func posixSharedMemory() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/posix-shared-memory",
		Title:  "shm_open of one name in two containers of a pod gives both the same memory, in both directions.",
		Level:  requirement.Must,
		Clause: podsShareIPC,
		Why: "The fastest way between two containers. It rests on the runtime mounting the sandbox's /dev/shm into every container, " +
			"which is a mount and not the IPC namespace, and was really missing in several runtimes.",
		Roles: []world.Role{world.SiblingA, world.SiblingB},
		Check: checkSharedMemory,
		Control: requirement.Control{
			Says: "a container with a tmpfs of its own on /dev/shm",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{
				world.SiblingA: world.OwnShmA, world.SiblingB: world.OwnShmB}},
			Red: []requirement.Reason{requirement.NotShared},
		},
	}
}

func checkSharedMemory(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	const size = 1 << 20
	name, data := newName(), make([]byte, size)
	rand.Read(data)
	made, err := a.Shm(ctx, wire.Shm{Do: "create", Name: name, Size: 2 * size})
	if err != nil {
		return fmt.Errorf("creating shared memory in %s: %w", a, err)
	}
	if !made.Ok() {
		return fmt.Errorf("%s cannot create POSIX shared memory: %s", a, made.Errno)
	}
	defer cleanUp(ctx, func(ctx context.Context) error {
		_, err := a.Shm(ctx, wire.Shm{Do: "remove", Name: name})
		return err
	})
	for i, way := range []struct{ writer, reader *requirement.End }{{a, b}, {b, a}} {
		fail := func(expected, observed string) error {
			return &requirement.Failure{Reason: requirement.NotShared, From: way.writer, To: way.reader, Target: name,
				Protocol: "POSIX shared memory", Expected: expected, Observed: observed, Again: "ls -l /dev/shm in both containers"}
		}
		put, err := way.writer.Shm(ctx, wire.Shm{Do: "write", Name: name, Offset: i * size, Data: data})
		if err != nil {
			return fmt.Errorf("writing shared memory in %s: %w", way.writer, err)
		}
		if !put.Ok() {
			return fail("the writer to open the object", put.Errno.String())
		}
		got, err := way.reader.Shm(ctx, wire.Shm{Do: "read", Name: name, Offset: i * size, Size: size})
		if err != nil {
			return fmt.Errorf("reading shared memory in %s: %w", way.reader, err)
		}
		if !got.Ok() {
			return fail("the reader to find the object", got.Errno.String())
		}
		if !bytes.Equal(got.Data, data) {
			return fail("the bytes that were written", "other bytes")
		}
	}
	return nil
}

func ipcIsolated() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/ipc-isolated",
		Title: "System V keys and POSIX names that a pod makes are not there for another pod on the node, " +
			"nor for the node itself.",
		Level:  requirement.Must,
		Clause: podsShareIPC,
		Why: "Keys are small numbers that programs choose alike, and names are guessed: a shared namespace lets one tenant read, " +
			"fill or remove another's queues and memory.",
		Roles: []world.Role{world.SiblingA, world.Near},
		Wants: []world.Role{world.Node},
		Check: checkIPCIsolated,
		Control: requirement.Control{
			Says:    "a hostIPC pod",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingA: world.HostIPC}},
			Red:     []requirement.Reason{requirement.Leaked},
		},
	}
}

func checkIPCIsolated(ctx context.Context, env *requirement.Env) error {
	owner := env.Role(world.SiblingA)
	key, name := newKey(), newName()
	kinds := []struct {
		what            string
		make, see, free func(context.Context, *requirement.End) (wire.Errno, error)
	}{
		{fmt.Sprintf("System V queue key %#x", key), queueDo("create", key), queueDo("open", key), queueDo("remove", key)},
		{"POSIX shared memory " + name, shmDo("create", name), shmDo("open", name), shmDo("remove", name)},
		{"POSIX message queue " + name, mqueueDo("create", name), mqueueDo("open", name), mqueueDo("remove", name)},
	}
	strangers := []*requirement.End{env.Role(world.Near)}
	if node := env.OnNode(world.Node, owner.Node); node != nil {
		strangers = append(strangers, node)
	} else {
		env.Note("not looked for on the node itself: no agent is admitted there")
	}
	for _, kind := range kinds {
		made, err := kind.make(ctx, owner)
		if err != nil {
			return fmt.Errorf("making %s in %s: %w", kind.what, owner, err)
		}
		if !made.Ok() {
			return fmt.Errorf("%s cannot make %s: %s", owner, kind.what, made)
		}
		defer cleanUp(ctx, func(ctx context.Context) error { _, err := kind.free(ctx, owner); return err })
		if own, err := kind.see(ctx, owner); err != nil {
			return fmt.Errorf("looking for %s in %s: %w", kind.what, owner, err)
		} else if !own.Ok() {
			return fmt.Errorf("%s does not find its own %s: %s", owner, kind.what, own)
		}
		for _, stranger := range strangers {
			seen, err := kind.see(ctx, stranger)
			if err != nil {
				return fmt.Errorf("looking for %s in %s: %w", kind.what, stranger, err)
			}
			if seen.Class != wire.NotThere {
				return &requirement.Failure{Reason: requirement.Leaked, From: owner, To: stranger, Target: kind.what, Protocol: "IPC",
					Expected: "no trace of " + kind.what, Observed: "opening it: " + seen.String(), Again: "ipcs -a; ls /dev/shm /dev/mqueue"}
			}
		}
	}
	return nil
}

type ipcCall = func(context.Context, *requirement.End) (wire.Errno, error)

func queueDo(do string, key int32) ipcCall {
	return func(ctx context.Context, end *requirement.End) (wire.Errno, error) {
		seen, err := end.Queue(ctx, wire.Queue{Do: do, Key: key})
		return seen.Errno, err
	}
}

func shmDo(do, name string) ipcCall {
	return func(ctx context.Context, end *requirement.End) (wire.Errno, error) {
		seen, err := end.Shm(ctx, wire.Shm{Do: do, Name: name, Size: 4096})
		return seen.Errno, err
	}
}

func mqueueDo(do, name string) ipcCall {
	return func(ctx context.Context, end *requirement.End) (wire.Errno, error) {
		seen, err := end.MQueue(ctx, wire.MQueue{Do: do, Name: name})
		return seen.Errno, err
	}
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
