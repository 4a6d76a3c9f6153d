package path

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/chance"
	"github.com/parley-k8s/parley/tests/internal/paths"
)

const (
	// tolerated and sought are shares of exchanges, each of which is two packets at least: what is no fault of a path, and what is to be
	// found.
	tolerated = 1e-4
	sought    = 0.02
	// missed is the probability that a sample misses what is sought.
	missed = 1e-3
	// mostAsked and sampleFor bound one sample. What is not known for a fault then is none, and a note says so.
	mostAsked = 3000
	sampleFor = 20 * time.Second
	// lastTries is how often is asked once more to know which way the last ones were lost.
	lastTries = 3
	// impatient is how long an answer may take under a control, which loses it.
	impatient = 500 * time.Millisecond
)

// losses is what each of so many samples of a check may lose: all of them together call what is tolerated a fault by chance.FalseAlarm.
func losses(samples int) chance.Losses {
	return chance.Losses{Tolerated: tolerated, Sought: sought, Alarm: chance.FalseAlarm / float64(max(1, samples)), Miss: missed}
}

// sampled is what became of many exchanges of one route.
type sampled struct {
	paths.Exchanged
	tally   map[wire.Class]int
	again   int // connections that stood only after a second SYN
	changed int
	each    []int64 // microseconds of each that went well, in order
	fault   bool
	// lastLost says that the last may have been lost.
	lastLost bool
	sure     bool // that it is a fault, or none
}

// bad is how many were not as they should be.
func (s sampled) bad() int { return s.Sent - s.tally[wire.OK] + s.again }

// share is the part that was not.
func (s sampled) share() float64 { return float64(s.bad()) / float64(max(1, s.Sent)) }

// percentile of what those took that went well.
func (s sampled) percentile(p int) time.Duration {
	if len(s.each) == 0 {
		return 0
	}
	return (time.Duration(s.each[(len(s.each)-1)*p/100]) * time.Microsecond).Round(10 * time.Microsecond)
}

// add has the route's client ask, and adds what became of it.
func (s *sampled) add(ctx context.Context, r route, ask wire.Connect, before int) error {
	got, err := r.from.Connect(ctx, ask)
	if err != nil {
		return fmt.Errorf("asking %s to dial %s: %w", r.from, ask.Address, err)
	}
	for class, n := range got.Tally {
		s.tally[class] += n
		s.Sent += n
	}
	s.again, s.changed, s.each = s.again+got.SYNsAgain, s.changed+got.Changed, append(s.each, got.Each...)
	s.Answered, s.lastLost = s.tally[wire.OK], got.Tally[wire.OK] < ask.Count
	s.Arrived = max(s.Arrived, s.Answered, got.Arrived-before)
	return nil
}

// sample has the route's client ask one question after another, none of them twice, until what was lost is known for a fault or for none.
// One at a time, so that no queue on the way fills by it, and a moment in which a machine stands still is one loss. before is how many
// datagrams the server had got of the client.
func (r route) sample(ctx context.Context, env *requirement.Env, ask wire.Connect, may chance.Losses, before int) (s sampled, err error) {
	within := env.Attempt
	if env.Patience == 0 && ask.Network == "udp" {
		within = impatient
	}
	ask.Brief, ask.Parallel, ask.Timeout = true, 1, int(within.Milliseconds())
	s.tally = map[wire.Class]int{}
	for begun := time.Now(); !s.sure && s.changed == 0 && s.Sent < mostAsked && time.Since(begun) < sampleFor; {
		trials, decides := may.Needed(s.bad(), s.Sent)
		ask.Count, ask.StopAfter = min(trials, mostAsked-s.Sent), decides
		if err := s.add(ctx, r, ask, before); err != nil {
			return s, err
		}
		s.fault, s.sure = may.Decided(s.bad(), s.Sent)
	}
	// An answer says how many have come until then: of those after the last one it is not known which way they were lost.
	ask.Count = 1
	for tries := 0; ask.Network == "udp" && s.fault && s.lastLost && tries < lastTries; tries++ {
		if err := s.add(ctx, r, ask, before); err != nil {
			return s, err
		}
	}
	slices.Sort(s.each)
	if s.changed > 0 {
		return s, &requirement.Failure{Reason: requirement.Broken, From: r.from, To: r.to, Behind: r.back, Target: ask.Address, Protocol: ask.Network,
			Expected: "the bytes that were sent to arrive unchanged", Observed: fmt.Sprintf("other bytes %d times of %d", s.changed, s.Sent),
			Attempts: s.Sent, Final: requirement.ChangedIsFinal}
	}
	return s, nil
}
