package reports

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRoundsAreTold(t *testing.T) {
	r := New("r", time.Time{})
	r.Clusters = []Cluster{{Name: "c", Results: []Result{
		{ID: "pod/a", Chapter: "pod", Level: Must, Outcome: Passed, Rounds: map[Outcome]int{Passed: 20}},
		{ID: "pod/b", Chapter: "pod", Level: Must, Outcome: Failed, Reason: "late", Rounds: map[Outcome]int{Passed: 17, Failed: 2, Errored: 1}},
		{ID: "pod/c", Chapter: "pod", Level: Must, Outcome: Skipped, Reason: "left out"},
	}}}
	var b strings.Builder
	require.NoError(t, WriteSummary(&b, r, false))
	require.Contains(t, b.String(), "ROUNDS 20, 40 verdicts: 1 of 2 requirements ended the same way each time\n  pod/b: 20 rounds: 17 passed, 2 failed, 1 error\n")
	b.Reset()
	require.NoError(t, WriteJUnit(&b, r))
	require.Contains(t, b.String(), "judged in: 20 rounds: 17 passed, 2 failed, 1 error")

	r.Clusters[0].Results = r.Clusters[0].Results[2:]
	b.Reset()
	require.NoError(t, WriteSummary(&b, r, false))
	require.NotContains(t, b.String(), "ROUNDS")
}
