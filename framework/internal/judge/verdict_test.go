package judge

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

func TestPanicInACheckIsItsOwnError(t *testing.T) {
	cleaned := false
	q := requirement.Requirement{ID: "pod/x", Check: func(_ context.Context, e *requirement.Env) error {
		e.Defer(func(context.Context) error { cleaned = true; return nil })
		panic("out of range")
	}}
	err := newRound(t, &fakeStage{}, Options{}).guarded(context.Background(), &requirement.Env{Requirement: &q}, q, nil)
	require.ErrorContains(t, err, "pod/x panicked: out of range")
	require.True(t, cleaned)
}

// A family of two that nobody can judge is not lost in the other's passing.
func TestAFamilyThatCouldNotBeJudgedIsNamed(t *testing.T) {
	six := error(&requirement.Unsupported{Probed: "no IPv6 address in the status"})
	q := requirement.Requirement{ID: "external/x", PerFamily: true, Check: func(_ context.Context, e *requirement.Env) error {
		if e.Family == corev1.IPv6Protocol {
			return six
		}
		return nil
	}}
	families := []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	result := newRound(t, &fakeStage{families: families}, Options{}).resultOf(t.Context(), q)
	require.Equal(t, reports.Passed, result.Outcome)
	require.Equal(t, "unsupported over IPv6: no IPv6 address in the status", result.Reason)

	six = nil
	result = newRound(t, &fakeStage{families: families}, Options{}).resultOf(t.Context(), q)
	require.Equal(t, reports.Passed, result.Outcome)
	require.Empty(t, result.Reason)
}

// A request that is refused for want of a right tells nothing of what the row is about, whatever the check takes it for.
func TestARightThatIsMissingIsNotJudged(t *testing.T) {
	const said = `pods "x" is forbidden: User "alice" cannot get resource "pods/proxy" in API group "" in the namespace "n"`
	for name, err := range map[string]error{
		"as it is":       errors.New(said),
		"as a failure":   &requirement.Failure{Reason: requirement.Broken, Observed: said},
		"as unsupported": &requirement.Unsupported{Probed: said},
	} {
		t.Run(name, func(t *testing.T) {
			q := requirement.Requirement{ID: "external/x", Check: func(context.Context, *requirement.Env) error { return err },
				Control: requirement.Control{Red: []requirement.Reason{requirement.Broken}, Variant: &requirement.Variant{Fixture: "other"}}}
			r := newRound(t, &fakeStage{}, Options{User: "alice"})
			result := r.resultOf(t.Context(), q)
			require.Equal(t, reports.Errored, result.Outcome)
			require.Contains(t, result.Reason, "the right to get pods/proxy is missing: grant it to alice")
			require.Nil(t, result.Failure)
			require.Equal(t, reports.Unproved, r.proveInFamilies(t.Context(), q, 0).State)

			other := newRound(t, &fakeStage{}, Options{User: "bob"}).resultOf(t.Context(), q)
			require.NotContains(t, other.Reason, "is missing", "it is no right of this run's user")
		})
	}
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
