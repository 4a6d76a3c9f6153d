package reports

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// broken is a cluster on which one rule breaks three requirements, of which one is a SHOULD, a wrong neighbour one, and something that
// nobody found another.
func broken() *Report {
	fails := func(id, cause string, warning bool) Result {
		return Result{ID: id, Level: "MUST", Outcome: Failed, Warning: warning, Reason: "no answer", Failure: &Failure{Requirement: id, Observed: "no answer", Cause: cause}}
	}
	return &Report{Clusters: []Cluster{{Name: "c", Results: []Result{
		fails("pod/a", "w1: a wrong neighbour", false),
		fails("pod/b", "w2: a rule drops it", true),
		{ID: "pod/c", Outcome: Passed},
		fails("pod/d", "w2: a rule drops it", false),
		fails("pod/e", "", false),
		fails("service/f", "w2: a rule drops it", false),
	}}}}
}

func TestCauses(t *testing.T) {
	require.Equal(t, []Cause{
		{What: "w2: a rule drops it", Requirements: []string{"pod/b", "pod/d", "service/f"}, Fails: true},
		{What: "w1: a wrong neighbour", Requirements: []string{"pod/a"}, Fails: true},
	}, broken().Clusters[0].Causes())
	require.Empty(t, (&Cluster{Results: []Result{{ID: "pod/a", Outcome: Passed}}}).Causes())
	one := Cause{What: "w", Requirements: []string{"pod/a"}}
	require.Equal(t, "w; it breaks 1 requirement: pod/a", one.Sentence())
	require.Equal(t, "1 cause, 1 requirement", headline([]Cause{one}))
}

func TestASummaryBeginsWithTheCauses(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteSummary(&b, broken(), false))
	text := b.String()
	require.Regexp(t, `(?s)2 CAUSES, 4 REQUIREMENTS\n  w2: a rule drops it; it breaks 3 requirements: pod/b, pod/d, service/f\n  w1: .*FAILED pod/a`, text)
	require.Regexp(t, `(?s)1 passed of 6[^\n]*\n  CAUSE w2: a rule drops it; it breaks 3 requirements: pod/b, pod/d, service/f\n  CAUSE w1: [^\n]*\n  FAILED pod/e: [^\n]*\n$`, text,
		"what a cause breaks is named with it, and the others on their own")
}

func TestACauseIsInJUnit(t *testing.T) {
	suites := runSuites(broken())
	require.Len(t, suites, 1)
	first := suites[0].Cases[0]
	require.Equal(t, "run/cause/1/c", first.Name)
	require.Equal(t, "w2: a rule drops it; it breaks 3 requirements: pod/b, pod/d, service/f", first.Skipped.Message)
}
