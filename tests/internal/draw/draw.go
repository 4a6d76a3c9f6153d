// Package draw judges who answers many new connections to one address: a sample, which is drawn once and judged once, and says how
// probable it is to be judged wrong.
package draw

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/tests/internal/chance"
)

const (
	// LeakShare is the share of connections that go where they must not which is to be found: one in twenty.
	LeakShare = 0.05
	// MissLeak is the probability that so great a share is not among a sample of Leaks.
	MissLeak = 1e-9
	// LossTolerated is the share of connections of which a sample takes the loss for nobody's fault: loss is what the paths are measured for.
	// A sample with more lost than such a share explains, but for chance.FalseAlarm, fails for it.
	LossTolerated = 1e-3

	// OverAtLeast is how many connections a sample over a time must have to be judged by: a machine that is too busy makes fewer.
	OverAtLeast = 100

	parallel = 50
	// knownWithin bounds the wait until a proxy knows a Service where a control leaves no patience, since the control is not about that.
	knownWithin = 10 * time.Second
)

// Leaks is the size of a sample that misses a share of LeakShare with a probability of at most MissLeak: 405.
func Leaks() int { return chance.DrawsToMeet(LeakShare, MissLeak) }

// Sample is who answered so many connections, or datagrams from new sockets, of one client.
type Sample struct {
	Client   *requirement.End
	Target   string
	Protocol string
	Count    int
	Over     time.Duration      // the time that it is spread over, 0 where it was drawn at once
	Peers    map[string]int     // answers by the hostname of who answered
	Tally    map[wire.Class]int // how they ended
	Changed  int                // that came back, or arrived, as other bytes
	Moves    int                // how often another answered than before, of a sample that is spread over a time
}

// Source is a client and what it dials, of which samples are taken.
type Source struct {
	Env      *requirement.Env
	Client   *requirement.End
	Protocol string
	Target   string
}

// Take has the client make that many new connections, many at once.
func (f Source) Take(ctx context.Context, count int) (Sample, error) {
	s, _, err := f.connect(ctx, count, true)
	return s, err
}

// TakeSeen is Take with what was seen of each connection, of the first 4096.
func (f Source) TakeSeen(ctx context.Context, count int) (Sample, []wire.Exchange, error) {
	return f.connect(ctx, count, false)
}

func (f Source) connect(ctx context.Context, count int, brief bool) (Sample, []wire.Exchange, error) {
	s := Sample{Client: f.Client, Target: f.Target, Protocol: f.Protocol, Count: count}
	got, err := f.Client.Connect(ctx, wire.Connect{Network: f.Protocol, Address: f.Target, Count: count, Parallel: parallel, Brief: brief,
		Timeout: int(f.Env.Attempt.Milliseconds())})
	if err != nil {
		return s, nil, fmt.Errorf("asking %s for %d connections to %s: %w", f.Client, count, f.Target, err)
	}
	s.Peers, s.Tally, s.Changed = got.Peers, got.Tally, got.Changed
	return s, got.Seen, nil
}

// TakeOver has the client connect at the pace, each time from a new source port. A control, which needs one answer by somebody else, is not
// waited for any longer than that.
func (f Source) TakeOver(ctx context.Context, pace exchange.Pace) (Sample, error) {
	enough := func(s exchange.Sampled) bool { return f.Env.Patience == 0 && len(s.Peers) > 1 }
	got, err := exchange.Sample(ctx, f.Env, exchange.Talk{From: f.Client, Network: f.Protocol, Dial: f.Target}, pace, enough)
	s := Sample{Client: f.Client, Target: f.Target, Protocol: f.Protocol, Count: got.Count, Over: pace.For, Peers: got.Peers, Tally: got.Tally,
		Changed: got.Changed, Moves: got.Moves}
	if err == nil && s.Count < OverAtLeast && !enough(got) {
		err = fmt.Errorf("%s made %d connections to %s in %s: too few to judge by", f.Client, s.Count, f.Target, pace.For)
	}
	return s, err
}

// Known waits until the client's proxy knows what is dialled: until each of those who are to answer has, within the patience in force.
// Where a control leaves none, or none of them is named, an answer by anybody is enough. What is steady says nothing of who else answers:
// the sample does.
func (f Source) Known(ctx context.Context, ends ...*requirement.End) error {
	return f.known(ctx, false, ends)
}

// Converged is Known for what the check made a moment ago: nobody else may answer any more either.
func (f Source) Converged(ctx context.Context, ends ...*requirement.End) error {
	return f.known(ctx, true, ends)
}

func (f Source) known(ctx context.Context, converging bool, ends []*requirement.End) error {
	policy := until.Policy{Within: f.Env.Patience}
	if f.Env.Patience == 0 {
		policy.Within, ends = knownWithin, nil
	}
	count, met := 1, map[string]bool{}
	if len(ends) > 0 {
		count = chance.DrawsToSee(len(ends), 1e-3)
	}
	_, err := requirement.Settles(ctx, policy, func(ctx context.Context) error {
		s, err := f.Take(ctx, count)
		if err != nil {
			return err
		}
		for who := range s.Peers {
			met[who] = true
		}
		if len(met) == 0 {
			return s.lost(count)
		}
		if converging && len(ends) > 0 {
			err := s.Among(ends, 1)
			if f := requirement.AsFailure(err); f != nil && f.Final == requirement.SampleIsFinal {
				f.Final = ""
			}
			if err != nil {
				return err
			}
		}
		for _, end := range ends {
			switch {
			case met[end.Pod]:
			case s.Tally[wire.OK] < s.Count:
				return s.lostBut(ends)
			default:
				return s.never(end)
			}
		}
		return nil
	})
	return err
}

// Of is how often each of the ends answered.
func (s Sample) Of(ends []*requirement.End) (counts []int) {
	for _, end := range ends {
		counts = append(counts, s.Peers[end.Pod])
	}
	return counts
}

// Shares says who answered how often, in words.
func (s Sample) Shares() string { return exchange.Sampled{Peers: s.Peers}.Shares() }

// Failure is the start of one about the sample, which no other sample forgives.
func (s Sample) Failure(reason requirement.Reason, expected, observed string) *requirement.Failure {
	f := &requirement.Failure{Reason: reason, From: s.Client, Target: s.Target, Protocol: s.Protocol, Expected: expected, Observed: observed,
		Attempts: s.Count, Took: s.Over, Final: requirement.SampleIsFinal}
	if s.Client.Pod != "" {
		f.Again = fmt.Sprintf("kubectl exec -n %s %s -c %s -- /agent dial %s %s   (again and again)", s.Client.Namespace, s.Client.Pod,
			s.Client.Container, s.Protocol, s.Target)
	}
	return f
}

// Among says whether the connections were answered, but for what may be lost, and each by one of the ends. judgements is how many samples
// the verdict rests on: that any of them is judged lossy by chance has the probability chance.FalseAlarm.
func (s Sample) Among(ends []*requirement.End, judgements int) error {
	answered, rightly := 0, 0
	for _, n := range s.Peers {
		answered += n
	}
	for _, n := range s.Of(ends) {
		rightly += n
	}
	lost := s.Count - s.Tally[wire.OK] - s.Changed
	switch {
	case s.Changed > 0:
		f := s.Failure(requirement.Broken, fmt.Sprintf("the bytes of %d exchanges to arrive unchanged", s.Count), fmt.Sprintf("other bytes in %d of them", s.Changed))
		f.Final = requirement.ChangedIsFinal
		return f
	case answered > rightly:
		return s.Failure(requirement.WrongPeer, fmt.Sprintf("all %d connections to be answered by %s", s.Count, names(ends)),
			fmt.Sprintf("%d of %d by others: %s", answered-rightly, answered, s.Shares()))
	case answered == 0, lost > chance.LossLimit(s.Count, LossTolerated, chance.FalseAlarm/float64(max(judgements, 1))):
		return s.lostBut(ends)
	}
	return nil
}

// Each says whether each of the ends answered some.
func (s Sample) Each(ends []*requirement.End) error {
	for _, end := range ends {
		if s.Peers[end.Pod] == 0 {
			f := s.never(end)
			f.Expected, f.Final = fmt.Sprintf("each of %d endpoints to answer some of %d connections", len(ends), s.Count), requirement.SampleIsFinal
			return f
		}
	}
	return nil
}

// One says whether one and the same answered all.
func (s Sample) One() error {
	if len(s.Peers) == 1 {
		return nil
	}
	expected := fmt.Sprintf("all %d connections of one client to reach one endpoint", s.Count)
	if s.Over == 0 {
		return s.Failure(requirement.WrongPeer, expected, s.Shares())
	}
	return s.Failure(requirement.WrongPeer, expected+fmt.Sprintf(" over %s", s.Over), fmt.Sprintf("another than before %d times: %s", s.Moves, s.Shares()))
}

// Unanswered says in words how many of the sample were lost; "" where none was.
func (s Sample) Unanswered() string {
	if lost := s.Count - s.Tally[wire.OK]; lost > 0 {
		return fmt.Sprintf("%d of %d unanswered", lost, s.Count)
	}
	return ""
}

// lost is the failure of connections that were not answered. It is not final: nodes that are too busy answer late.
func (s Sample) lost(count int) *requirement.Failure {
	worst := wire.TimedOut
	for _, class := range slices.Sorted(maps.Keys(s.Tally)) {
		if class != wire.OK && s.Tally[class] > s.Tally[worst] {
			worst = class
		}
	}
	f := s.Failure(requirement.ReasonOf(wire.Errno{Class: worst}), fmt.Sprintf("all %d connections to be answered", count),
		fmt.Sprintf("%d that ended as %q, and %s", s.Tally[worst], worst, s.Shares()))
	f.Final = ""
	return f
}

// lostBut is lost, with the first of the ends that never answered, where there is one.
func (s Sample) lostBut(ends []*requirement.End) *requirement.Failure {
	f := s.lost(s.Count)
	for i, n := range s.Of(ends) {
		if n == 0 {
			f.To = ends[i]
			f.Observed += "; never " + ends[i].Where()
			break
		}
	}
	return f
}

func (s Sample) never(end *requirement.End) *requirement.Failure {
	f := s.Failure(requirement.WrongPeer, "each endpoint to answer", s.Shares()+"; never "+end.Where())
	f.To, f.Final = end, ""
	return f
}

func names(ends []*requirement.End) string {
	var all []string
	for _, end := range ends {
		all = append(all, end.Where())
	}
	return strings.Join(all, ", ")
}
