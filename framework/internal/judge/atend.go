package judge

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// passedBefore says of a requirement that is looked at again at the end whether it held in this round: what failed already needs no
// second look.
func (r *round) passedBefore(q requirement.Requirement) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := r.results[q.ID]
	return q.AtEnd && result != nil && result.Outcome == reports.Passed
}

// judgeAtEnd judges a requirement again that held in this round.
func (r *round) judgeAtEnd(t *testing.T, q requirement.Requirement) {
	now := r.resultOf(r.ctx, q)
	r.record.markKnown(&now, r.options.Known)
	r.options.Log.Verdict(q.ID, label(now.Outcome), now.Sentence(), now.Took)
	r.mu.Lock()
	all := bothLooks(r.ctx, *r.results[q.ID], now)
	r.results[q.ID] = &all
	r.mu.Unlock()
	r.record.keep(all)
	Show(t, all, r.options.Strict)
}

// bothLooks is the result of a requirement that held at first and was judged again at the end: what does not hold any more takes
// its place, with a word of when it did.
func bothLooks(ctx context.Context, before, now reports.Result) reports.Result {
	both := before
	switch {
	case now.Outcome == reports.Passed:
		both.HeldLate = slices.Concat(before.HeldLate, now.HeldLate)
		return both
	case ctx.Err() != nil:
		both.Notes = append(slices.Clone(before.Notes), "not looked at again at the end: "+now.Reason)
		return both
	}
	both = now
	both.Rounds = nil
	for outcome, n := range before.Rounds {
		if outcome == reports.Passed {
			n-- // this round's
		}
		if both.Rounds == nil {
			both.Rounds = map[reports.Outcome]int{now.Outcome: 1}
		}
		if both.Rounds[outcome] += n; both.Rounds[outcome] == 0 {
			delete(both.Rounds, outcome)
		}
	}
	both.PutOff = before.PutOff
	both.Proof = before.Proof
	both.Notes = append(slices.Clone(now.Notes), fmt.Sprintf("it held when it was judged first, at %s", clock(before.Started)))
	if now.Failure != nil {
		failure := *now.Failure
		failure.Observed += fmt.Sprintf(" (at the end of the run; it held at %s)", clock(before.Started))
		both.Failure, both.Reason = &failure, failure.Sentence()
	}
	return both
}
