package judge

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

func TestPanicInACheckIsItsOwnError(t *testing.T) {
	cleaned := false
	q := requirement.Requirement{ID: "pod/x", Check: func(_ context.Context, e *requirement.Env) error {
		e.Defer(func(context.Context) error { cleaned = true; return nil })
		panic("out of range")
	}}
	err := guarded(context.Background(), &requirement.Env{Requirement: &q}, q, nil)
	require.ErrorContains(t, err, "pod/x panicked: out of range")
	require.True(t, cleaned)
}

func TestConcludeDemandsRedForTheExpectedReason(t *testing.T) {
	q := requirement.Requirement{Control: requirement.Control{Red: []requirement.Reason{requirement.NoAnswer}}}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		ctx     context.Context
		verdict error
		state   reports.ProofState
	}{
		"green":          {context.Background(), nil, reports.Refuted},
		"red":            {context.Background(), &requirement.Failure{Reason: requirement.NoAnswer}, reports.Proved},
		"another reason": {context.Background(), &requirement.Failure{Reason: requirement.Refused}, reports.Refuted},
		"could not tell": {context.Background(), context.DeadlineExceeded, reports.Refuted},
		"interrupted":    {ended, nil, reports.ProofNotRun},
	} {
		t.Run(name, func(t *testing.T) {
			var proof reports.Proof
			conclude(c.ctx, c.verdict, q, &proof)
			require.Equal(t, c.state, proof.State)
		})
	}
}

func TestWorseKeepsTheGravestOfTheFamilies(t *testing.T) {
	of := func(outcomes ...reports.Outcome) reports.Outcome {
		var r reports.Result
		for _, o := range outcomes {
			r.Outcome, r.Reason = worse(r.Outcome, r.Reason, o, "")
		}
		return r.Outcome
	}
	require.Equal(t, reports.Failed, of(reports.Passed, reports.Failed, reports.Errored))
	require.Equal(t, reports.Errored, of(reports.Errored, reports.Passed))
	require.Equal(t, reports.Passed, of(reports.Unsupported, reports.Passed))
	require.Equal(t, reports.Unsupported, of(reports.Unsupported))
}
