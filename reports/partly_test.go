package reports

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatPassedInPartSaysWhereItWasNotJudged(t *testing.T) {
	both := func(six Outcome, why string) []Verdict {
		return []Verdict{{Family: "IPv4", Outcome: Passed}, {Family: "IPv6", Outcome: six, Reason: why}}
	}
	for name, c := range map[string]struct {
		is   Result
		says string
	}{
		"all of it":               {Result{Outcome: Passed, Verdicts: both(Passed, "")}, ""},
		"one family":              {Result{Outcome: Passed, Verdicts: both(Unsupported, "no IPv6 address")}, "unsupported over IPv6: no IPv6 address"},
		"no reason":               {Result{Outcome: Passed, Verdicts: both(Unsupported, "")}, "unsupported over IPv6"},
		"one node":                {Result{Outcome: Passed, ByNode: []NodeVerdict{{"n1", "IPv4", Passed, ""}, {"n2", "IPv4", Unsupported, "no agent"}}}, "unsupported on n2 over IPv4: no agent"},
		"a family and all nodes":  {Result{Outcome: Passed, Verdicts: both(Unsupported, "none"), ByNode: []NodeVerdict{{"n1", "IPv6", Unsupported, "none"}}}, "unsupported over IPv6: none"},
		"failed: its own words":   {Result{Outcome: Failed, Verdicts: both(Failed, "silence")}, ""},
		"judged in no family":     {Result{Outcome: Unsupported, Verdicts: both(Unsupported, "none")}, ""},
		"passed and no more said": {Result{Outcome: Passed}, ""},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.says, c.is.Partly()) })
	}

	r := &Report{Clusters: []Cluster{{Name: "c", Results: []Result{{ID: "pod/x", Chapter: "pod", Outcome: Passed, Verdicts: both(Unsupported, "no IPv6 address")}}}}}
	text := string(written(t, func(w io.Writer, r *Report) error { return WriteSummary(w, r, false) }, r))
	require.Contains(t, text, "PASSED IN PART\n  pod/x: unsupported over IPv6: no IPv6 address\n")
}
