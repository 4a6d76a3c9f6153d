package judge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

func TestRetriable(t *testing.T) {
	for name, c := range map[string]struct {
		result reports.Result
		want   bool
	}{
		"failed":                              {reports.Result{Outcome: reports.Failed}, true},
		"an error":                            {reports.Result{Outcome: reports.Errored}, true},
		"failed for good":                     {reports.Result{Outcome: reports.Failed, Failure: &reports.Failure{Final: "never the machine's doing"}}, false},
		"passed":                              {reports.Result{Outcome: reports.Passed}, false},
		"unsupported":                         {reports.Result{Outcome: reports.Unsupported}, false},
		"known, nobody waits for its verdict": {reports.Result{Outcome: reports.Failed, Known: &reports.Known{}}, false},
		"once only":                           {reports.Result{Outcome: reports.Failed, PutOff: "no answer"}, false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, retriable(c.result)) })
	}
}

func TestPutOff(t *testing.T) {
	var r putOff
	q := requirement.Requirement{ID: "c/x"}
	require.Empty(t, r.first("c/x"))
	require.False(t, r.has(q))
	r.add("c/x", "no answer")
	require.True(t, r.has(q))
	require.Equal(t, "no answer", r.first("c/x"))
	require.Equal(t, "put off as the nodes were too busy, and not judged again: by ^C; seen at first: no answer", r.notJudgedAgain("c/x", "by ^C"))
	require.Empty(t, r.notJudgedAgain("c/y", "by ^C"))
	r.forget()
	require.False(t, r.has(q))
}

func TestWhatIsPutOffIsGivenHalfThePatience(t *testing.T) {
	j := &Judge{record: &Record{}}
	q := requirement.Requirement{ID: "c/x"}
	require.Equal(t, patience, j.patienceWith(q))
	j.record.retries.add("c/x", "no answer")
	require.Equal(t, patience/2, j.patienceWith(q))
}
