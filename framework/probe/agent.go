package probe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// Errors that Do wraps. They are about the control channel, and say nothing about the network under test.
var (
	// ErrLost: the agent was not reached in time, or no longer keeps the answer.
	ErrLost = errors.New("the agent's answer was lost")
	// ErrRestarted: the agent's process ended while it had the request; what it did of it is not known, and all
	// that it had open is closed.
	ErrRestarted = errors.New("the agent restarted")
)

// Agent is one agent, reached through a Dialer. All its methods may be called from many goroutines.
type Agent struct {
	name    string
	dialer  Dialer
	session string

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	ended  chan struct{} // closed when the connecting goroutine has ended
	wake   chan struct{} // a request waits for a stream: do not back off for long

	mu      sync.Mutex
	started bool
	closed  bool
	next    uint64
	pending map[uint64]*call
	boot    string            // of the agent last talked to
	host    string            // what Hostname was told, "" before
	out     *wire.FrameWriter // nil while there is no stream
	lastErr error             // why there is none
}

// call is one request that has no answer yet.
type call struct {
	id    uint64
	frame []byte
	sent  bool // it was given to a stream to the agent that boot names
	done  chan answer
}

type answer struct {
	frame *wire.Frame
	err   error
}

// New returns the agent that d reaches; name is for error messages. It connects with the first request, and from then on
// keeps a stream open until Close.
func New(name string, d Dialer) *Agent {
	var id [12]byte
	_, _ = rand.Read(id[:]) // never fails, by its contract
	ctx, cancel := context.WithCancel(context.Background())
	return &Agent{
		name: name, dialer: d, session: hex.EncodeToString(id[:]),
		ctx: ctx, cancel: cancel, ended: make(chan struct{}), wake: make(chan struct{}, 1),
		pending: map[uint64]*call{},
	}
}

// Name is the name given to New.
func (a *Agent) Name() string { return a.name }

// Do sends the agent one operation and decodes its answer into result, which may be nil. An error means that
// the channel or the agent could not do it at all: it wraps ErrLost, ErrRestarted, a *wire.OpError or ctx's error.
// What the probed system answered, a refused connection too, is in the result. Without a deadline in ctx it waits without end.
func (a *Agent) Do(ctx context.Context, op wire.Op, args, result any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return a.wrap(op, fmt.Errorf("encoding the arguments: %w", err))
	}
	if err := ctx.Err(); err != nil {
		return a.wrap(op, err)
	}
	c, err := a.submit(ctx, op, raw)
	if err != nil {
		return a.wrap(op, err)
	}
	select {
	case got := <-c.done:
		return a.wrap(op, decode(got, result))
	case <-ctx.Done():
		return a.wrap(op, a.abandon(c, ctx.Err()))
	}
}

func (a *Agent) wrap(op wire.Op, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("agent %s: %s: %w", a.name, op, err)
}

func decode(got answer, result any) error {
	if got.err != nil {
		return got.err
	}
	if f := got.frame.Error; f != nil {
		if f.Code == wire.ErrorLost {
			return fmt.Errorf("%w: %w", ErrLost, f)
		}
		return f
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(got.frame.Result, result); err != nil {
		return fmt.Errorf("decoding the answer: %w", err)
	}
	return nil
}

// submit registers a request and sends it, or leaves it for the next stream.
func (a *Agent) submit(ctx context.Context, op wire.Op, args json.RawMessage) (*call, error) {
	f := wire.Frame{Kind: wire.KindRequest, Op: op, Args: args}
	if deadline, ok := ctx.Deadline(); ok {
		f.Wait = max(time.Until(deadline).Milliseconds(), 1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, fmt.Errorf("%w: it was closed", ErrLost)
	}
	a.next++
	f.ID = a.next
	b, err := wire.AppendFrame(nil, &f)
	if err != nil {
		return nil, err
	}
	c := &call{id: f.ID, frame: b, done: make(chan answer, 1)}
	a.pending[c.id] = c
	switch {
	case a.out != nil:
		a.send(c)
	case !a.started:
		a.started = true
		go a.run()
	default:
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
	return c, nil
}

// send gives a call to the stream. Where that fails the stream is about to end, and the next one asks again.
func (a *Agent) send(c *call) {
	c.sent = true
	_ = a.out.SendEncoded(c.frame)
}

// abandon gives a call up because its context ended.
func (a *Agent) abandon(c *call, why error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pending, c.id)
	if a.out != nil {
		_ = a.out.Send(&wire.Frame{Kind: wire.KindCancel, ID: c.id})
		return why
	}
	if a.lastErr != nil {
		return fmt.Errorf("%w: no stream to it: %w (%w)", ErrLost, a.lastErr, why)
	}
	return fmt.Errorf("%w: it was not reached in time: %w", ErrLost, why)
}

// Close ends the session: its operations are cancelled, and what the agent has open for it (servers, connections, filter
// tables) is closed. Requests without an answer fail with ErrLost.
func (a *Agent) Close() error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil
	}
	a.closed = true
	started, out := a.started, a.out
	a.failAll(func(*call) error { return fmt.Errorf("%w: it was closed", ErrLost) })
	a.mu.Unlock()
	if out != nil {
		_ = out.Send(&wire.Frame{Kind: wire.KindBye})
		select {
		case <-a.ended: // the agent hangs up after a bye
		case <-time.After(byeTimeout):
		}
	}
	a.cancel()
	if started {
		<-a.ended
	}
	return nil
}

// failAll ends the pending calls for which why gives an error.
func (a *Agent) failAll(why func(*call) error) {
	for id, c := range a.pending {
		if err := why(c); err != nil {
			delete(a.pending, id)
			c.done <- answer{err: err}
		}
	}
}

// pendingIDs are the requests that wait for an answer, in order.
func (a *Agent) pendingIDs() []uint64 {
	ids := make([]uint64, 0, len(a.pending))
	for id := range a.pending {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
