package suite

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// How many requirements are judged side by side follows what the cluster bears: on machines that are so busy that an agent
// takes long to answer, checks would wait for the machine instead of the cluster, and take it for broken.
const (
	atFirst = 4
	atLeast = 2
	atMost  = 12
	// calm and busy are how much longer than at the quickest the agents take to answer: below the one a further
	// requirement is begun, above the other fewer are.
	calm = 60 * time.Millisecond
	busy = 250 * time.Millisecond
	// paceEvery is how often they are asked, paceWithin what a question may take.
	paceEvery  = 400 * time.Millisecond
	paceWithin = 3 * time.Second
)

// pace is how many are to be judged at once.
type pace struct {
	quickest time.Duration // 0 before the first answer
	limit    int
}

// next takes what the agents took to answer.
func (p *pace) next(took time.Duration) int {
	if p.limit == 0 {
		p.limit = atFirst
	}
	if p.quickest == 0 || took < p.quickest {
		p.quickest = took
	}
	switch longer := took - p.quickest; {
	case longer < calm:
		p.limit = min(p.limit+1, atMost)
	case longer > busy:
		p.limit = max(p.limit*3/4, atLeast)
	}
	return p.limit
}

// setPace has the turns follow what the cluster bears, until the context ends.
func (l *lab) setPace(ctx context.Context, all ...*turns) {
	ends := l.cast.Ends(world.Everywhere)
	if len(ends) == 0 {
		return
	}
	var p pace
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for {
		limit := p.next(roundTrip(ctx, ends))
		for _, t := range all {
			t.allow(limit)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// roundTrip is what an agent takes to answer, the median over the nodes: a control may hold one of them.
func roundTrip(ctx context.Context, ends []*requirement.End) time.Duration {
	took := make([]time.Duration, len(ends))
	var asking sync.WaitGroup
	for i, end := range ends {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, paceWithin)
			defer cancel()
			begun := time.Now()
			// Closing what is not there is the cheapest thing that can be asked. An agent that does not answer is slow.
			_ = end.Do(ctx, wire.OpClose, wire.Close{Handle: "none"}, nil)
			took[i] = time.Since(begun)
		})
	}
	asking.Wait()
	slices.Sort(took)
	return took[len(took)/2]
}
