package reports

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPerCluster(t *testing.T) {
	r := New("1a-2b", began)
	failed := func(evidence string) []Result {
		return []Result{{ID: "a/b", Outcome: Failed, Failure: &Failure{Evidence: evidence}}}
	}
	r.Notices, r.NotRun = []string{"n"}, []NotRun{{Name: "crun"}}
	r.Clusters = []Cluster{
		{Name: "runc", Results: failed("runc/evidence/b")},
		{Name: "runsc", Results: failed("elsewhere/b"), Interrupted: "cut short"},
	}
	got := r.PerCluster()
	require.Len(t, got, 2)
	require.Equal(t, "evidence/b", got[0].Clusters[0].Results[0].Failure.Evidence)
	require.Equal(t, "elsewhere/b", got[1].Clusters[0].Results[0].Failure.Evidence)
	require.Equal(t, []string{"", "cut short"}, []string{got[0].Interrupted, got[1].Interrupted})
	require.Equal(t, "runc/evidence/b", r.Clusters[0].Results[0].Failure.Evidence, "the whole keeps its own")
	require.Empty(t, got[0].NotRun)
	require.Len(t, r.NotRun, 1)
}
