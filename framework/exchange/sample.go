package exchange

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Pace is how often a client connects, and for how long.
type Pace struct {
	Every, For time.Duration
}

const (
	// samplesAtOnce is how many connections of a sample may be open: one that is lost must not hold up the next ones.
	samplesAtOnce = 16
	// sampleCollect is how often they are collected. The client makes them by itself meanwhile.
	sampleCollect = 500 * time.Millisecond
)

// Sampled is who answered a client that connected to one address again and again for a while.
type Sampled struct {
	Count   int
	Took    time.Duration      // from the first to the last
	Peers   map[string]int     // answers by the hostname of who answered
	Tally   map[wire.Class]int // how they ended
	Changed int                // answers with other bytes than were sent
	Moves   int                // how often another answered than before
}

// Shares says who answered how often, in words.
func (s Sampled) Shares() string {
	var parts []string
	for _, who := range slices.Sorted(maps.Keys(s.Peers)) {
		parts = append(parts, fmt.Sprintf("%s %d", who, s.Peers[who]))
	}
	if len(parts) == 0 {
		return "nobody answering"
	}
	return strings.Join(parts, ", ")
}

// Sample has talk.From connect at that pace, from a new source port each time, and judges nothing. It ends early where enough says so of
// what was collected so far; nil never does.
func Sample(ctx context.Context, env *requirement.Env, talk Talk, pace Pace, enough func(Sampled) bool) (Sampled, error) {
	ask := func(p wire.Poll) (wire.PollResult, error) {
		got, err := talk.From.Poll(ctx, p)
		if err == nil && !got.Ok() {
			err = errors.New(got.String())
		}
		if err != nil {
			err = fmt.Errorf("asking %s to dial %s for %s: %w", talk.From, talk.Dial, pace.For, err)
		}
		return got, err
	}
	begun, err := ask(wire.Poll{Do: wire.PollBegin, Every: int(pace.Every.Milliseconds()), AtOnce: samplesAtOnce,
		Connect: wire.Connect{Network: talk.Network, Address: talk.Dial, Timeout: int(env.Attempt.Milliseconds())}})
	if err != nil {
		return Sampled{}, err
	}
	defer Release(ctx, talk.From, begun.Handle)
	var all []wire.PollSample
	for {
		got, err := ask(wire.Poll{Do: wire.PollCollect, Handle: begun.Handle, Wait: int(sampleCollect.Milliseconds())})
		if err != nil {
			return Sampled{}, err
		}
		all = append(all, got.Samples...)
		if seen := sampled(all); got.Now >= pace.For.Microseconds() || enough != nil && enough(seen) {
			return seen, nil
		}
	}
}

// sampled counts samples, in the order in which they were begun.
func sampled(all []wire.PollSample) Sampled {
	s := Sampled{Count: len(all), Peers: map[string]int{}, Tally: map[wire.Class]int{}}
	slices.SortFunc(all, func(a, b wire.PollSample) int { return cmp.Compare(a.N, b.N) })
	last := ""
	for _, q := range all {
		s.Tally[q.Class]++
		s.Took = max(s.Took, time.Duration(q.At)*time.Microsecond)
		if q.Changed {
			s.Changed++
		}
		if q.Who == "" {
			continue
		}
		s.Peers[q.Who]++
		if last != "" && q.Who != last {
			s.Moves++
		}
		last = q.Who
	}
	return s
}
