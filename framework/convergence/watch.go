package convergence

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

const (
	// every is from one question of a client to its next.
	every = 25 * time.Millisecond
	// atOnce is how many questions of a client may be open: those that are lost must not hold up the next ones.
	atOnce = 16
	// answerWithin bounds one question: less than the first retransmission of a SYN (1 s, RFC 6298), so that a lost
	// packet is one wrong answer and not a late right one.
	answerWithin = 900 * time.Millisecond
	// inRow is how many right answers in a row count as settled. Where a stale endpoint would get every second
	// connection it goes unseen on one node by a chance of 2^-20 at each moment, on three by 2^-60.
	inRow = 20
	// redWithin is the bound in place of Expect.Within for the step that a control is to turn red, which is to be soon.
	redWithin = 3 * time.Second
	// besideWithin is how far apart a question that nobody answers and one that is answered beside it may be asked.
	besideWithin = 10 * every
	// settleWithin bounds the wait for as many answers beyond the time that the change has.
	settleWithin = time.Minute
	// pollEvery is how often the answers are looked at.
	pollEvery = 20 * time.Millisecond
)

// Client asks one address.
type Client struct {
	From    *requirement.End
	Network string
	Dial    string
	Source  string // where it is set, one question is asked at a time, all from this address
	Reuse   string // the handle of a connection that is kept open, on which one question is asked at a time
	// Within bounds one question; 0 is answerWithin.
	Within time.Duration
}

// Watch is clients that ask until it is stopped.
type Watch struct {
	env     *requirement.Env
	streams []*stream
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Begin has all clients ask from now on. They end with ctx, with Stop, and with the check.
func Begin(ctx context.Context, env *requirement.Env, clients ...Client) *Watch {
	ctx, stop := context.WithCancel(ctx)
	w := &Watch{env: env, stop: stop}
	for _, c := range clients {
		w.streams = append(w.streams, w.begin(ctx, c))
	}
	env.Defer(func(context.Context) error { w.Stop(); return nil })
	return w
}

func (w *Watch) begin(ctx context.Context, c Client) *stream {
	s := &stream{Client: c}
	w.running.Go(func() { s.run(ctx) })
	return s
}

// besides are what the clients ask beside until the context ends, by their own streams; none where somebody is to answer.
func (w *Watch) besides(ctx context.Context, expect Expect) (map[*stream]*stream, error) {
	if len(expect.By) > 0 {
		return nil, nil
	}
	if expect.Beside == nil {
		return nil, fmt.Errorf("%s: nobody is to answer, and nothing is asked beside it that does", expect.What)
	}
	all, begun := map[*stream]*stream{}, map[Client]*stream{}
	for _, s := range w.streams {
		dial, err := expect.Beside(s.Client)
		if err != nil {
			return nil, err
		}
		c := Client{From: s.From, Network: s.Network, Dial: dial, Within: s.Within}
		if begun[c] == nil {
			begun[c] = w.begin(ctx, c)
		}
		all[s] = begun[c]
	}
	return all, nil
}

// Stop ends the asking and waits for what is open.
func (w *Watch) Stop() {
	w.stop()
	w.running.Wait()
}

// Change makes a change and waits until each client has got the answers that are expected from then on. What was
// measured is kept for the report. The change may say when it was made, where that is not when it was asked for. The error is
// a *requirement.Failure where a client does not get there in time.
func (w *Watch) Change(ctx context.Context, expect Expect, change func(context.Context) (time.Time, error)) error {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	besides, err := w.besides(asking, expect)
	if err != nil {
		return err
	}
	began := time.Now()
	at, err := change(ctx)
	if err != nil {
		return err
	}
	if at.IsZero() {
		at = began
	}
	within := expect.Within
	if expect.Red && w.env.Patience == 0 {
		within = min(within, redWithin)
	}
	var samples []requirement.ConvergenceSample
	var late error
	_, err = until.Settled(ctx, until.Policy{Within: time.Until(at.Add(within + settleWithin)), Every: pollEvery}, func(context.Context) error {
		samples = samples[:0]
		var open error
		for _, s := range w.streams {
			all, err := s.since(at)
			if err != nil {
				late = err
				return nil
			}
			var heard []question
			if b := besides[s]; b != nil {
				if heard, err = b.since(at); err != nil {
					late = err
					return nil
				}
			}
			seen := expect.judge(all, heard, at, within)
			switch {
			case seen.settled:
				samples = append(samples, requirement.ConvergenceSample{Node: s.From.Node, Family: family(s.Dial), FirstRight: seen.firstRight, LastWrong: seen.lastWrong})
			case seen.late:
				late = s.failure(expect, seen, at, within)
				return nil
			case seen.unheard:
				open = besides[s].unheard(s, heard, at)
			default:
				open = s.failure(expect, seen, at, within)
			}
		}
		return open
	})
	switch {
	case late != nil:
		return late
	case err != nil:
		if f := requirement.AsFailure(err); f != nil {
			return f
		}
		return err
	}
	w.env.RecordConvergence(expect.What, samples...)
	return nil
}

// Unbroken says whether every client got what is expected at each of its questions since then. It waits for those that are open.
func (w *Watch) Unbroken(ctx context.Context, since time.Time, expect Expect) (asked int, err error) {
	now := time.Now()
	for _, s := range w.streams {
		var all []question
		var lost error
		if _, err := until.Settled(ctx, until.Policy{Within: time.Minute, Every: pollEvery}, func(context.Context) error {
			if all, lost = s.since(since); lost != nil {
				return nil
			}
			if len(all) == 0 || all[len(all)-1].asked.Before(now) {
				return fmt.Errorf("%s still waits for answers from %s", s.From, s.Dial)
			}
			return nil
		}); err != nil || lost != nil {
			return asked, cmp.Or(lost, err)
		}
		asked += len(all)
		wrong, first := 0, 0
		for i, q := range all {
			if !expect.right(q) {
				if wrong++; wrong == 1 {
					first = i
				}
			}
		}
		if wrong > 0 {
			f := s.failed(expect, all[first])
			f.Expected = fmt.Sprintf("%s to each of %d questions during %s", expect.describe(), len(all), expect.What)
			f.Observed = fmt.Sprintf("%d that got something else, the first %s", wrong, all[first].describe())
			f.Attempts = len(all)
			return asked, f
		}
	}
	return asked, nil
}

func (s *stream) failure(expect Expect, seen progress, at time.Time, within time.Duration) error {
	f := s.failed(expect, seen.last)
	f.Attempts, f.Took = seen.asked, time.Since(at)
	if seen.changed > 0 {
		f.Expected = fmt.Sprintf("the bytes that were sent to arrive unchanged, whoever answers (%s)", expect.What)
		f.Observed = fmt.Sprintf("%s, in %d of %d answers", seen.last.errno, seen.changed, seen.asked)
		return f
	}
	f.Expected = fmt.Sprintf("%s within %s of the change (%s)", expect.describe(), within, expect.What)
	f.Observed = fmt.Sprintf("%s, still %s after it", seen.last.describe(), seen.lastWrong.Round(time.Millisecond))
	// Where others did answer, who never did tells more than that the last question happened to be lost.
	if n := len(seen.missing); n > 0 && (seen.last.errno.Ok() || n < len(expect.By)) {
		f.Reason = requirement.Missing
		f.Observed = fmt.Sprintf("no answer by %s among %d", list(seen.missing), seen.asked)
	}
	return f
}

// unheard is the failure that the client was not answered beside silence at another address, so that this tells nothing.
func (s *stream) unheard(other *stream, asked []question, at time.Time) error {
	lost := question{errno: wire.Errno{Class: wire.TimedOut, Text: "no answer in time"}}
	for _, q := range asked {
		if !q.errno.Ok() {
			lost = q
		}
	}
	f := s.failed(Expect{}, lost)
	f.Attempts, f.Took, f.Observed = len(asked), time.Since(at), lost.describe()
	f.Expected = fmt.Sprintf("an answer at %s all along, beside which silence at %s is judged", s.Dial, other.Dial)
	return f
}

// failed is a failure but for its words.
func (s *stream) failed(expect Expect, q question) *requirement.Failure {
	reason := requirement.ReasonOf(q.errno)
	switch {
	case q.errno.Ok() && !q.same:
		reason = requirement.Broken
	case q.errno.Ok() && len(expect.By) == 0:
		reason = requirement.Answered
	case q.errno.Ok():
		reason = requirement.Stale
	}
	f := &requirement.Failure{Reason: reason, From: s.From, Target: s.Dial, Protocol: s.Network}
	if q.changed {
		f.Reason, f.Final = requirement.Broken, requirement.ChangedIsFinal
	}
	if s.From.Pod != "" && s.Reuse == "" {
		f.Again = fmt.Sprintf("kubectl exec -n %s %s -c %s -- /agent dial %s %s", s.From.Namespace, s.From.Pod, s.From.Container, s.Network, s.Dial)
	}
	return f
}

func family(dial string) string {
	to, err := netip.ParseAddrPort(dial)
	switch {
	case err != nil:
		return ""
	case to.Addr().Is4():
		return "IPv4"
	}
	return "IPv6"
}
