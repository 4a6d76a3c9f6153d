package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

const (
	dialTimeout = 15 * time.Second // for opening a stream and the agent's hello; an exec on a busy node takes seconds
	pingEvery   = 3 * time.Second  // and a stream that said nothing for
	deadAfter   = 15 * time.Second // so long is given up: a dead one otherwise looks like a quiet one for many minutes
	byeTimeout  = time.Second

	backoffMin  = 50 * time.Millisecond
	backoffMax  = 2 * time.Second  // while requests wait
	backoffIdle = 15 * time.Second // while none do

	ackBatch = 512
)

// run keeps a stream to the agent until Close.
func (a *Agent) run() {
	defer close(a.ended)
	backoff := backoffMin
	for {
		begun := time.Now()
		hello, err := a.stream()
		a.mu.Lock()
		a.out = nil
		a.lastErr = err
		closed := a.closed
		idle := len(a.pending) == 0
		a.mu.Unlock()
		if closed || a.ctx.Err() != nil {
			return
		}
		if hello && time.Since(begun) > backoffMax {
			backoff = backoffMin
		}
		pause := backoff
		limit := backoffMax
		if idle {
			limit = backoffIdle
		}
		backoff = min(2*backoff, limit)
		select {
		case <-a.ctx.Done():
			return
		case <-time.After(pause):
		case <-a.wake:
			backoff = min(backoff, backoffMax)
			// A request came: it is worth a try now, but not one for each of thousands of requests.
			select {
			case <-a.ctx.Done():
				return
			case <-time.After(min(pause, backoffMin)):
			}
		}
	}
}

// stream opens one stream and serves it until it ends. It says whether the agent answered, and why it ended.
func (a *Agent) stream() (hello bool, err error) {
	ctx, cancel := context.WithTimeout(a.ctx, dialTimeout)
	defer cancel()
	conn, err := a.dialer.Dial(ctx)
	if err != nil {
		return false, fmt.Errorf("opening a stream: %w", err)
	}
	s := &stream{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	defer s.fail(nil)
	// Until the hello came, the end of ctx ends the stream; after it, only the agent's own end does.
	stop := context.AfterFunc(ctx, func() { s.fail(fmt.Errorf("no hello: %w", ctx.Err())) })
	defer stop()
	s.out = wire.NewFrameWriter(conn, s.fail)
	defer s.out.Close()

	if err := a.greet(s); err != nil {
		return false, s.why(err)
	}
	if !stop() {
		return false, s.why(ctx.Err())
	}
	stopped := context.AfterFunc(a.ctx, func() { s.fail(a.ctx.Err()) })
	defer stopped()
	done := make(chan struct{})
	defer close(done)
	go s.keepalive(done)
	return true, s.why(a.receive(s))
}

// stream is one connection to the agent.
type stream struct {
	conn  io.ReadWriteCloser
	r     *bufio.Reader
	out   *wire.FrameWriter
	cause atomic.Pointer[error]
	heard atomic.Int64 // when something last came, in nanoseconds
}

// fail closes the connection, and keeps the first reason given.
func (s *stream) fail(err error) {
	if err != nil {
		s.cause.CompareAndSwap(nil, &err)
	}
	_ = s.conn.Close()
}

// why returns the reason that the stream was failed with, or else err.
func (s *stream) why(err error) error {
	if cause := s.cause.Load(); cause != nil {
		return *cause
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the stream ended")
	}
	return err
}

func (s *stream) keepalive(done <-chan struct{}) {
	s.heard.Store(time.Now().UnixNano())
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			if silent := now.Sub(time.Unix(0, s.heard.Load())); silent > deadAfter {
				s.fail(fmt.Errorf("the stream was silent for %s", silent.Round(time.Second)))
				return
			}
			_ = s.out.Send(&wire.Frame{Kind: wire.KindPing})
		}
	}
}

// greet exchanges hellos, settles what becomes of the requests that wait, and makes s the agent's stream.
func (a *Agent) greet(s *stream) error {
	a.mu.Lock()
	hello := wire.Frame{Kind: wire.KindHello, Version: wire.Version, Session: a.session, Boot: a.boot, IDs: a.pendingIDs()}
	a.mu.Unlock()
	if err := s.out.Send(&hello); err != nil {
		return err
	}
	reply, err := wire.ReadFrame(s.r)
	if err != nil {
		return fmt.Errorf("reading the agent's hello: %w", err)
	}
	if reply.Error != nil {
		return reply.Error
	}
	if reply.Kind != wire.KindHello || reply.Version != wire.Version || reply.Boot == "" {
		return fmt.Errorf("%w: a %s of version %d where the agent's hello was awaited", wire.ErrFrame, reply.Kind, reply.Version)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return io.ErrClosedPipe
	}
	if a.boot != "" && a.boot != reply.Boot {
		a.failAll(func(c *call) error {
			if c.sent {
				return ErrRestarted
			}
			return nil
		})
	}
	a.boot = reply.Boot
	a.out = s.out
	a.lastErr = nil
	named := make(map[uint64]bool, len(hello.IDs))
	for _, id := range hello.IDs {
		named[id] = true
	}
	// In order: the agent takes an ID below the highest that it has seen for a repetition.
	for _, id := range a.pendingIDs() {
		if id > reply.Seen {
			a.send(a.pending[id])
		}
	}
	// A request given up since the hello was written is one that the agent still does.
	for id := range named {
		if a.pending[id] == nil {
			_ = a.out.Send(&wire.Frame{Kind: wire.KindCancel, ID: id})
		}
	}
	return nil
}

// receive takes answers until the stream ends.
func (a *Agent) receive(s *stream) error {
	var acks []uint64
	for {
		f, err := wire.ReadFrame(s.r)
		if err != nil {
			return err
		}
		s.heard.Store(time.Now().UnixNano())
		if f.Kind != wire.KindAnswer {
			continue // a pong, or something of a newer agent's
		}
		a.mu.Lock()
		c := a.pending[f.ID]
		delete(a.pending, f.ID)
		a.mu.Unlock()
		if c != nil {
			c.done <- answer{frame: f}
		}
		acks = append(acks, f.ID)
		if len(acks) >= ackBatch || s.r.Buffered() == 0 {
			_ = s.out.Send(&wire.Frame{Kind: wire.KindAck, IDs: acks})
			acks = nil
		}
	}
}
