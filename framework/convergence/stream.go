package convergence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/exchange"
)

// collectEvery is how often a client's answers are collected. The client asks by itself meanwhile: a question that cost a
// message each would keep the kubelets and runtimes busy that are to follow the change.
const collectEvery = 200 * time.Millisecond

// beginWithin bounds the begin of the asking: a stream to the agent may have to be opened first.
const beginWithin = 30 * time.Second

// TCP questions come from ports of their own, each of which is used again only after all others. A question that was sent
// before the proxy knew the Service leaves an entry in connection tracking that translates nothing, for 120 seconds
// (nf_conntrack_tcp_timeout_syn_sent): a later one from the same port follows it past the proxy, and is answered by nobody. The
// kernel's own choice comes back to a port after some three thousand connections to one address, which are asked in 80 seconds.
// These are below the requirements' own ports (20000), the usual ephemeral range (32768) and the NodePort range, and above what
// the components of a node listen on (10249 to 10259).
const firstPort, lastPort = 11000, 19999

// stream is one client's questions, by their number.
type stream struct {
	Client
	mu    sync.Mutex
	asked []*wire.PollSample // nil is one of which nothing is known yet
	// begun is when the client began to ask, by this process's clock: no later than that, and no earlier than by what the
	// quickest answer took to arrive here.
	begun time.Time
	err   error // why no more is heard of it
}

// question is one and what came of it, by this process's clock.
type question struct {
	asked, answered time.Time
	errno           wire.Errno
	who             string // who answered
	same            bool
	changed         bool // it ended at wire.StepCompare
}

// run has the client ask, and collects what came of it until the context ends.
func (s *stream) run(ctx context.Context) {
	within, limit := s.Within, atOnce
	if within == 0 {
		within = answerWithin
	}
	if s.Source != "" || s.Reuse != "" {
		limit = 1
	}
	q := wire.Poll{Do: wire.PollBegin, Every: int(every.Milliseconds()), AtOnce: limit,
		Connect: wire.Connect{Network: s.Network, Address: s.Dial, Source: s.Source, Reuse: s.Reuse, Timeout: int(within.Milliseconds())}}
	if strings.HasPrefix(s.Network, "tcp") && s.Source == "" && s.Reuse == "" {
		q.Ports = [2]int{firstPort, lastPort}
	}
	beginning, cancel := context.WithTimeout(context.WithoutCancel(ctx), beginWithin) // what was begun must be known, to be ended
	got, err := s.ask(beginning, q)
	cancel()
	if err == nil {
		defer exchange.Release(context.WithoutCancel(ctx), s.From, got.Handle)
	}
	for err == nil && ctx.Err() == nil {
		_, err = s.ask(ctx, wire.Poll{Do: wire.PollCollect, Handle: got.Handle, Wait: int(collectEvery.Milliseconds())})
	}
	if ctx.Err() == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.err = fmt.Errorf("asking %s to dial %s: %w", s.From, s.Dial, err)
	}
}

func (s *stream) ask(ctx context.Context, q wire.Poll) (wire.PollResult, error) {
	got, err := s.From.Poll(ctx, q)
	if err == nil && !got.Ok() {
		err = errors.New(got.String())
	}
	if err == nil {
		s.take(got, time.Now())
	}
	return got, err
}

// take notes what was told at that time.
func (s *stream) take(got wire.PollResult, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if begun := at.Add(-micros(got.Now)); s.begun.IsZero() || begun.Before(s.begun) {
		s.begun = begun
	}
	for _, q := range got.Samples {
		for len(s.asked) <= q.N {
			s.asked = append(s.asked, nil)
		}
		s.asked[q.N] = &q
	}
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// since are the questions asked from then on, up to the first of which nothing is known yet. One of which nothing is known was
// asked before the next that is known.
func (s *stream) since(at time.Time) (closed []question, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := 0
	for i, q := range s.asked {
		if q != nil && s.begun.Add(micros(q.At)).Before(at) {
			first = i + 1
		}
	}
	for _, q := range s.asked[first:] {
		if q == nil {
			break
		}
		asked := s.begun.Add(micros(q.At))
		closed = append(closed, question{asked: asked, answered: asked.Add(micros(q.Took)), errno: q.Errno, who: q.Who, same: q.Same, changed: q.Changed})
	}
	return closed, s.err
}
