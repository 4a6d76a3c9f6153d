package reports

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestExitCode(t *testing.T) {
	must := func(o Outcome) Result { return Result{Level: Must, Outcome: o} }
	should := func(o Outcome) Result { return Result{Level: Should, Outcome: o} }
	refuted := Result{Level: Optional, Outcome: Passed, Proof: &Proof{State: Refuted}}
	unproved := Result{Level: Must, Outcome: Passed, Proof: &Proof{State: Unproved}}
	for _, c := range []struct {
		name         string
		interrupted  string
		results      []Result
		want, strict int
	}{
		{"all passed", "", []Result{must(Passed), should(Passed)}, 0, 0},
		{"a MUST failed", "", []Result{must(Passed), must(Failed)}, 1, 1},
		{"a SHOULD failed", "", []Result{must(Passed), should(Failed)}, 0, 1},
		{"only a SHOULD, failed", "", []Result{should(Failed)}, 0, 1},
		{"an OPTIONAL failed", "", []Result{must(Passed), {Level: Optional, Outcome: Failed}}, 0, 1},
		{"an unknown level failed", "", []Result{{Level: "must?", Outcome: Failed}}, 1, 1},
		{"refuted", "", []Result{must(Passed), refuted}, 1, 1},
		{"unproved", "", []Result{unproved}, 0, 0},
		{"skipped and unsupported beside passed", "", []Result{must(Passed), must(Skipped), must(Unsupported)}, 0, 0},
		{"not judged", "", []Result{must(Passed), must(Errored)}, 2, 2},
		{"an unknown outcome", "", []Result{must(Passed), must("fine")}, 2, 2},
		{"a failure goes before what was not judged", "", []Result{must(Errored), must(Failed)}, 1, 1},
		{"nothing but skipped", "", []Result{must(Skipped)}, 2, 2},
		{"nothing but unsupported", "", []Result{must(Unsupported)}, 2, 2},
		{"nothing", "", nil, 2, 2},
		{"interrupted", "by a signal", []Result{must(Passed)}, 2, 2},
		{"interrupted after a failure", "by a signal", []Result{must(Failed)}, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := New("x", time.Time{})
			r.Interrupted = c.interrupted
			r.Clusters = []Cluster{{Name: "a"}, {Name: "b", Results: c.results}}
			require.Equal(t, c.want, r.ExitCode(false))
			require.Equal(t, c.strict, r.ExitCode(true), "strict")
		})
	}
}

func TestMarkWarnings(t *testing.T) {
	r := &Report{Clusters: []Cluster{{Results: []Result{
		{Level: Should, Outcome: Failed}, {Level: Must, Outcome: Failed}, {Level: Should, Outcome: Passed, Warning: true}}}}}
	marks := func(strict bool) (m []bool) {
		r.MarkWarnings(strict)
		for _, res := range r.Clusters[0].Results {
			m = append(m, res.Warning)
		}
		return m
	}
	require.Equal(t, []bool{true, false, false}, marks(false))
	require.Equal(t, []bool{false, false, false}, marks(true))
}

func TestSummaryCounts(t *testing.T) {
	s := exampleReport().Summary()
	require.Equal(t, Counts{Passed: 3, Failed: 1, Warnings: 1, Skipped: 2, Unsupported: 1, Errors: 1}, s.Counts)
	require.Equal(t, 7, s.Asked())
	require.Equal(t, ProofCounts{Asked: 4, Proved: 1, Unproved: 1, Refuted: 1, NotRun: 1}, s.Proofs)
	var names []string
	for _, c := range s.Chapters {
		names = append(names, c.Chapter)
	}
	require.Equal(t, []string{"pod", "container", "dns", "service"}, names)
}

func TestSummaryText(t *testing.T) {
	plain := func(r *Report) []byte {
		return written(t, func(w io.Writer, r *Report) error { return WriteSummary(w, r, false) }, r)
	}
	golden(t, "summary.txt", plain(exampleReport()))

	none := New("1a-2b", began)
	none.Interrupted = "the CNI configuration of node worker is missing"
	none.Clusters = []Cluster{{Name: "kind-parley"}}
	golden(t, "summary-interrupted.txt", plain(none))

	colored := written(t, func(w io.Writer, r *Report) error { return WriteSummary(w, r, true) }, exampleReport())
	require.Contains(t, string(colored), "\x1b[31mFAILED pod/no-nat-cross-node")
	require.NotContains(t, string(plain(exampleReport())), "\x1b")
}

func TestPutOffIsShown(t *testing.T) {
	r := New("1a-2b", began)
	r.Clusters = []Cluster{{Name: "kind-parley", Results: []Result{
		{ID: "c/x", Chapter: "c", Level: Must, Outcome: Passed, PutOff: "no answer"},
		{ID: "c/y", Chapter: "c", Level: Must, Outcome: Failed, Reason: "refused", PutOff: "no answer either"},
	}}}
	summary := string(written(t, func(w io.Writer, r *Report) error { return WriteSummary(w, r, false) }, r))
	require.Contains(t, summary, "WHILE THE NODES WERE TOO BUSY\n  c/x: no answer\n")
	require.NotContains(t, summary, "c/y: no answer either", "it failed again")
	require.Contains(t, string(written(t, WriteJUnit, r)), "when this was seen: no answer")
}

// A proof that was refuted at first and proved then is no failure; it stands where the exit code is explained all the same.
func TestAProofOnTheSecondTryIsNamedAtTheEnd(t *testing.T) {
	r := New("1a-2b", began)
	second := "on the second try; the first: red for another reason"
	r.Clusters = []Cluster{{Name: "kind-parley", Results: []Result{
		{ID: "c/x", Chapter: "c", Level: Must, Outcome: Passed, Proof: &Proof{State: Proved, Reason: second}},
		{ID: "c/y", Chapter: "c", Level: Must, Outcome: Passed, Proof: &Proof{State: Proved}},
	}}}
	require.Equal(t, ExitPassed, r.ExitCode(false))
	summary := string(written(t, func(w io.Writer, r *Report) error { return WriteSummary(w, r, false) }, r))
	_, end, ok := strings.Cut(summary, "2 passed of 2; proved 2 of 2")
	require.True(t, ok, summary)
	require.Contains(t, end, "PROVED c/x: "+second)
	require.NotContains(t, end, "c/y")
}

func TestWhatHeldLateIsCounted(t *testing.T) {
	r := New("1a-2b", began)
	r.Clusters = []Cluster{{Name: "kind-parley", Results: []Result{{ID: "c/first", Chapter: "c", Level: Must, Outcome: Passed}}}}
	for i := range maxLateLines + 2 {
		r.Clusters[0].Results = append(r.Clusters[0].Results, Result{ID: fmt.Sprintf("c/late-%d", i), Chapter: "c", Level: Must, Outcome: Passed,
			HeldLate: []LateHold{{Attempts: 2, Took: time.Second, First: "refused"}, {Attempts: 3, Took: time.Duration(i+2) * time.Second, First: "timed out"}}})
	}
	summary := string(written(t, func(w io.Writer, r *Report) error { return WriteSummary(w, r, false) }, r))
	require.Contains(t, summary, "HELD ONLY ON A LATER ATTEMPT 12 of 13\n  c/late-11: on attempt 3, after 13s; at first: timed out\n")
	require.NotContains(t, summary, "c/late-1:", "the latest come first")
	require.Contains(t, summary, "and 2 more: heldLate in report.json")
	require.Contains(t, string(written(t, WriteJUnit, r)), "at first: refused")
	require.Empty(t, r.Clusters[0].Unsteady(), "all of it was about something that had been changed")
}

// A run in which more than a few requirements held late about what nothing changed is told so.
func TestUnsteady(t *testing.T) {
	for n, told := range map[int]bool{0: false, fewSteady: false, fewSteady + 1: true} {
		r := New("1a-2b", began)
		r.Clusters = []Cluster{{Name: "kind-parley", Results: []Result{{ID: "c/first", Chapter: "c", Level: Must, Outcome: Passed}}}}
		for i := range n {
			r.Clusters[0].Results = append(r.Clusters[0].Results, Result{ID: fmt.Sprintf("c/late-%d", i), Chapter: "c", Level: Must, Outcome: Passed,
				HeldLate: []LateHold{{Attempts: 2, Took: time.Second, First: "refused", Steady: true}}})
		}
		const said = "6 of 7 requirements held only on a later attempt although nothing that they look at was changed"
		summary := string(written(t, func(w io.Writer, r *Report) error { return WriteSummary(w, r, false) }, r))
		require.Equal(t, told, strings.Contains(summary[strings.LastIndex(summary, "passed of"):], said), summary)
		require.Equal(t, told, strings.Contains(string(written(t, WriteJUnit, r)), said))
		if n > 0 {
			require.Contains(t, summary, fmt.Sprintf("HELD ONLY ON A LATER ATTEMPT %d of %d, %d of them about what nothing changed", n, n+1, n))
		}
	}
}
