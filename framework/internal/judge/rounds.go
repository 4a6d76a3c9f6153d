package judge

import (
	"cmp"

	"github.com/parley-k8s/parley/reports"
)

// overRounds is this round's result put together with that of the rounds before: the gravest outcome, how many
// rounds ended how, and all that was measured.
func (j *Judge) overRounds(result reports.Result) reports.Result {
	if j.options.Rounds <= 1 {
		return result
	}
	if before, ok := j.record.earlier(result.ID); ok {
		return overRounds(before, result)
	}
	result.Rounds = map[reports.Outcome]int{result.Outcome: 1}
	return result
}

func overRounds(before, now reports.Result) reports.Result {
	all := now
	if outcome, _ := worse(before.Outcome, "", now.Outcome, ""); outcome != now.Outcome {
		all = before
	}
	all.Rounds = map[reports.Outcome]int{now.Outcome: 1}
	for outcome, n := range before.Rounds {
		all.Rounds[outcome] += n
	}
	all.Converged = append(append([]reports.Converged(nil), before.Converged...), now.Converged...)
	all.HeldLate = append(append([]reports.LateHold(nil), before.HeldLate...), now.HeldLate...)
	all.Took = before.Took + now.Took
	all.Proof = before.Proof
	all.PutOff = cmp.Or(before.PutOff, now.PutOff)
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
