package judge

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

func atEnd(q requirement.Requirement) requirement.Requirement {
	q.AtEnd = true
	return q
}

func atEndCase() []requirement.Requirement {
	return []requirement.Requirement{
		atEnd(row("pod/lost", requirement.Must, attempts(nil, noAnswer))),
		atEnd(row("pod/unjudged", requirement.Must, attempts(nil, errAgent))),
		atEnd(row("pod/kept", requirement.Must, always(nil))),
		atEnd(row("pod/failed", requirement.Must, attempts(noAnswer))), // a second look would hold
		row("pod/once", requirement.Must, attempts(nil, noAnswer)),
	}
}

func TestWhatMayChangeIsJudgedAgainAtTheEnd(t *testing.T) {
	results, output, passed := roundOf(t, "at the end")
	require.False(t, passed)
	require.Equal(t, map[string]reports.Outcome{"pod/lost": reports.Failed, "pod/unjudged": reports.Errored, "pod/kept": reports.Passed,
		"pod/failed": reports.Failed, "pod/once": reports.Passed}, outcomes(results))
	require.Contains(t, results["pod/lost"].Failure.Observed, "timed out (at the end of the run; it held at ")
	require.Contains(t, results["pod/lost"].Reason, "at the end of the run")
	require.NotContains(t, results["pod/failed"].Reason, "at the end")
	require.Contains(t, output, "--- FAIL: TestRoundInAProcess/holds_at_the_end/pod/lost")
	require.NotContains(t, output, "holds_at_the_end/pod/once")
}

func TestRoundsCountTheLookAtTheEnd(t *testing.T) {
	results, _, _ := roundOf(t, "at the end, rounds")
	require.Equal(t, map[reports.Outcome]int{reports.Passed: 2, reports.Failed: 1}, results["pod/x"].Rounds)
	require.Equal(t, reports.Failed, results["pod/x"].Outcome)
}

// A look that the run's end cut short takes no verdict away.
func TestTheLookAtTheEndIsCutShort(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("interrupted"))
	both := bothLooks(ctx, reports.Result{Outcome: reports.Passed}, reports.Result{Outcome: reports.Errored, Reason: "cut short: interrupted"})
	require.Equal(t, reports.Passed, both.Outcome)
	require.Equal(t, []string{"not looked at again at the end: cut short: interrupted"}, both.Notes)
}

func TestARoundNotesWhatChanges(t *testing.T) {
	n := node("n1", nil)
	s := &fakeStage{kube: fake.NewClientset(&n)}
	r := newRound(t, s, Options{})
	r.options.Catalogue = Catalogue{All: []requirement.Requirement{row("pod/x", requirement.Must, func(ctx context.Context, e *requirement.Env) error {
		return e.Kube.CoreV1().Nodes().Delete(ctx, "n1", metav1.DeleteOptions{})
	})}}
	r.Round(t.Context(), t)
	text, err := json.Marshal(r.record.Complete(Catalogue{}, "").Changes)
	require.NoError(t, err)
	require.JSONEq(t, `[{"of": "node n1", "what": "vanished"}]`, string(text))
}
