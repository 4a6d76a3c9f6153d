package suite

import (
	"cmp"
	"errors"
	"flag"
	"strconv"

	"github.com/parley-k8s/parley/reports"
)

// rounds is how often everything is judged on the one cluster: go test's -count.
func rounds() int {
	f := flag.Lookup("test.count")
	if f == nil {
		return 1
	}
	n, err := strconv.Atoi(f.Value.String())
	if err != nil {
		return 1
	}
	return max(1, n)
}

// begin counts the round that begins, and says which it is where there are several.
func (r *Run) begin() {
	r.round++
	if of := rounds(); of > 1 && !r.isMatrix() && !r.shared {
		r.progress.say("round %d of %d", r.round, of)
	}
}

// overRounds is this round's result put together with that of the rounds before: the gravest outcome, how many
// rounds ended how, and all that was measured.
func (r *Run) overRounds(result reports.Result) reports.Result {
	if rounds() == 1 {
		return result
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, before := range r.cluster().Results {
		if before.ID == result.ID {
			return overRounds(before, result)
		}
	}
	result.Rounds = map[reports.Outcome]int{result.Outcome: 1}
	return result
}

func overRounds(before, now reports.Result) reports.Result {
	all := now
	if outcome, _ := worse(before, reports.Verdict{Outcome: now.Outcome}); outcome != now.Outcome {
		all = before
	}
	all.Rounds = map[reports.Outcome]int{now.Outcome: 1}
	for outcome, n := range before.Rounds {
		all.Rounds[outcome] += n
	}
	all.Converged = append(append([]reports.Converged(nil), before.Converged...), now.Converged...)
	all.Took = before.Took + now.Took
	all.Proof = before.Proof
	all.RetriedAlone = cmp.Or(before.RetriedAlone, now.RetriedAlone)
	return all
}

// worseProof keeps what is worth knowing of a proof and of the one of a round before.
func worseProof(before, now *reports.Proof) *reports.Proof {
	rank := map[reports.ProofState]int{reports.ProofNotRun: 1, reports.Proved: 2, reports.Unproved: 3, reports.Refuted: 4}
	if before != nil && rank[before.State] > rank[now.State] {
		return before
	}
	return now
}

var errFirstRound = errors.New("the first round could not begin")
