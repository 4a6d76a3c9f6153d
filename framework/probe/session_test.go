package probe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/serve"
	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/probe"
)

// cutter dials an agent within the process; its streams can be cut, dialing can be refused, and the agent replaced.
type cutter struct {
	mu      sync.Mutex
	agent   *serve.Agent
	streams []net.Conn
	refuse  error
	dials   int
}

func newCutter(t *testing.T, limits serve.Limits) *cutter {
	c := &cutter{agent: serve.New("a key", limits)}
	t.Cleanup(func() { c.agent.Close() })
	return c
}

func (c *cutter) Dial(context.Context) (io.ReadWriteCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dials++
	if c.refuse != nil {
		return nil, c.refuse
	}
	ours, theirs := net.Pipe()
	agent := c.agent
	go func() { _ = agent.ServeStream(theirs) }()
	c.streams = append(c.streams, ours)
	return ours, nil
}

// cut ends every stream, and has dialing refused with refuse, if that is not nil.
func (c *cutter) cut(refuse error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		_ = s.Close()
	}
	c.streams, c.refuse = nil, refuse
}

func (c *cutter) allow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = nil
}

// restart replaces the agent by a new one.
func (c *cutter) restart() {
	c.mu.Lock()
	old := c.agent
	c.agent = serve.New("a key", serve.Limits{})
	c.mu.Unlock()
	old.Close()
	c.cut(nil)
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newAgent(t *testing.T, d probe.Dialer) *probe.Agent {
	a := probe.New("test", d)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

// gate is a TCP server that accepts and stays silent until it is opened: a Connect to it lasts as long as the
// test wants.
type gate struct {
	ln     net.Listener
	opened chan struct{}
	came   chan struct{}
}

func newGate(t *testing.T) *gate {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &gate{ln: ln, opened: make(chan struct{}), came: make(chan struct{}, 1000)}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			g.came <- struct{}{}
			go func() {
				<-g.opened
				_ = conn.Close()
			}()
		}
	}()
	return g
}

func (g *gate) connect() wire.Connect {
	return wire.Connect{Network: "tcp", Address: g.ln.Addr().String(), Timeout: 60_000}
}

func TestAnswerIsFetchedAfterTheStreamWasLost(t *testing.T) {
	ctx := testContext(t)
	c := newCutter(t, serve.Limits{})
	a := newAgent(t, c)
	g := newGate(t)

	done := make(chan error, 1)
	var got wire.Connected
	go func() {
		var err error
		got, err = a.Connect(ctx, g.connect())
		done <- err
	}()
	<-g.came                                // the operation is under way
	c.cut(errors.New("port 10250 blocked")) // and its stream goes
	close(g.opened)                         // it ends while there is none
	select {
	case err := <-done:
		t.Fatalf("answered without a stream: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	c.allow()
	require.NoError(t, <-done)
	require.Len(t, got.Seen, 1)
	require.Equal(t, "read", got.Seen[0].Step)
	require.Empty(t, g.came, "the operation ran once")
}

func TestRequestsMadeWithoutAStreamAreSentOnce(t *testing.T) {
	ctx := testContext(t)
	c := newCutter(t, serve.Limits{})
	c.cut(errors.New("not yet"))
	a := newAgent(t, c)
	path := filepath.Join(t.TempDir(), "d")
	done := make(chan wire.FileResult, 1)
	go func() {
		got, _ := a.File(ctx, wire.File{Do: "mkdir", Path: path})
		done <- got
	}()
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.dials > 1 }, time.Minute, time.Millisecond)
	c.allow()
	require.Equal(t, wire.Errno{}, (<-done).Errno)
}

func TestRestartedAgent(t *testing.T) {
	ctx := testContext(t)
	c := newCutter(t, serve.Limits{})
	a := newAgent(t, c)
	g := newGate(t)
	before, err := a.Identity(ctx)
	require.NoError(t, err)

	done := make(chan error, 1)
	go func() { _, err := a.Connect(ctx, g.connect()); done <- err }()
	<-g.came
	c.restart()
	require.ErrorIs(t, <-done, probe.ErrRestarted)

	after, err := a.Identity(ctx)
	require.NoError(t, err)
	require.NotEqual(t, before.Boot, after.Boot)
}

func TestSessionThatExpiredIsARestart(t *testing.T) {
	ctx := testContext(t)
	c := newCutter(t, serve.Limits{SessionAge: 50 * time.Millisecond})
	a := newAgent(t, c)
	g := newGate(t)
	l, err := a.Listen(ctx, wire.Listen{Network: "tcp", Address: "127.0.0.1:0"})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { _, err := a.Connect(ctx, g.connect()); done <- err }()
	<-g.came
	c.cut(errors.New("away"))
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", l.Local)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, time.Minute, 10*time.Millisecond, "what the session opened is closed with it")
	c.allow()
	require.ErrorIs(t, <-done, probe.ErrRestarted)
}

func TestCancelReachesTheOperation(t *testing.T) {
	c := newCutter(t, serve.Limits{Running: 1})
	a := newAgent(t, c)
	g := newGate(t)
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() { _, err := a.Connect(ctx, g.connect()); done <- err }()
	<-g.came
	_, err := a.Identity(testContext(t))
	var fault *wire.OpError
	require.ErrorAs(t, err, &fault)
	require.Equal(t, wire.ErrorBusy, fault.Code, "the one place is taken")
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Eventually(t, func() bool {
		_, err := a.Identity(testContext(t))
		return err == nil
	}, time.Minute, time.Millisecond, "the operation ended although its server never answered")
}

func TestNoStreamUntilTheDeadline(t *testing.T) {
	c := newCutter(t, serve.Limits{})
	c.cut(errors.New("connection refused by the kubelet"))
	a := newAgent(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := a.Identity(ctx)
	require.ErrorIs(t, err, probe.ErrLost)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "connection refused by the kubelet")
}

func TestAnswersBeyondTheLimitAreLost(t *testing.T) {
	ctx := testContext(t)
	c := newCutter(t, serve.Limits{Answers: 2})
	a := newAgent(t, c)
	const n = 5
	g := newGate(t)
	done := make(chan error, n)
	for range n {
		go func() { _, err := a.Connect(ctx, g.connect()); done <- err }()
	}
	for range n {
		<-g.came
	}
	c.cut(errors.New("away"))
	close(g.opened)
	require.Eventually(t, func() bool { return c.agent.Running() == 0 }, time.Minute, time.Millisecond)
	c.allow()
	lost := 0
	for range n {
		if err := <-done; err != nil {
			require.ErrorIs(t, err, probe.ErrLost)
			lost++
		}
	}
	require.Equal(t, n-2, lost)
}

func TestTenThousandInFlightOverACutStream(t *testing.T) {
	ctx := testContext(t)
	c := newCutter(t, serve.Limits{})
	a := newAgent(t, c)
	dir := t.TempDir()
	const n = 10_000
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wg.Go(func() {
			// mkdir is not idempotent: one that ran twice would say so.
			got, err := a.File(ctx, wire.File{Do: "mkdir", Path: filepath.Join(dir, fmt.Sprint(i))})
			if err == nil && !got.Ok() {
				err = errors.New(got.String())
			}
			if err != nil {
				errs <- err
			}
		})
	}
	stop := make(chan struct{})
	var cuts sync.WaitGroup
	cuts.Go(func() {
		for range 20 {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				c.cut(nil)
			}
		}
	})
	wg.Wait()
	close(stop)
	cuts.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

func TestCloseEndsWhatTheSessionOpened(t *testing.T) {
	ctx := testContext(t)
	d, end, err := probe.Local("a key")
	require.NoError(t, err)
	defer end()
	a := probe.New("test", d)
	l, err := a.Listen(ctx, wire.Listen{Network: "tcp", Address: "127.0.0.1:0"})
	require.NoError(t, err)
	require.True(t, l.Ok(), l.Errno)
	require.NoError(t, a.Close())
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", l.Local)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, time.Minute, 10*time.Millisecond)
	_, err = a.Identity(ctx)
	require.ErrorIs(t, err, probe.ErrLost)
}
