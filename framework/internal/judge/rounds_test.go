package judge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/reports"
)

func TestOverRoundsKeepsTheGravest(t *testing.T) {
	round := func(o reports.Outcome, reason string) reports.Result {
		return reports.Result{ID: "pod/a", Outcome: o, Reason: reason, Took: 1, Converged: []reports.Converged{{What: "w", Samples: make([]reports.ConvergedSample, 3)}}}
	}
	first := round(reports.Passed, "")
	first.Rounds = map[reports.Outcome]int{reports.Passed: 1}
	first.Proof = &reports.Proof{State: reports.Proved}
	all := overRounds(first, round(reports.Failed, "late"))
	all = overRounds(all, round(reports.Errored, "lost"))
	all = overRounds(all, round(reports.Passed, ""))
	require.Equal(t, reports.Failed, all.Outcome)
	require.Equal(t, "late", all.Reason)
	require.Equal(t, map[reports.Outcome]int{reports.Passed: 2, reports.Failed: 1, reports.Errored: 1}, all.Rounds)
	require.Len(t, all.Converged, 4)
	require.EqualValues(t, 4, all.Took)
	require.Equal(t, reports.Proved, all.Proof.State)
	require.Equal(t, map[reports.Outcome]int{reports.Passed: 1}, first.Rounds)
}

func TestWorseProof(t *testing.T) {
	of := func(s reports.ProofState) *reports.Proof { return &reports.Proof{State: s} }
	require.Equal(t, reports.Proved, worseProof(nil, of(reports.Proved)).State)
	require.Equal(t, reports.Refuted, worseProof(of(reports.Refuted), of(reports.Proved)).State)
	require.Equal(t, reports.Proved, worseProof(of(reports.ProofNotRun), of(reports.Proved)).State)
	require.Equal(t, reports.Proved, worseProof(of(reports.Proved), of(reports.ProofNotRun)).State)
}
