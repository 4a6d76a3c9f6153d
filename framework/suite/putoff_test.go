package suite

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

func TestPutOff(t *testing.T) {
	var p putOff
	require.Empty(t, p.first("c/x"))
	failed := func() *reports.Result {
		return &reports.Result{ID: "c/x", Outcome: reports.Failed, Reason: "no answer"}
	}
	require.False(t, p.puts(failed(), false), "the nodes were not busy")
	require.False(t, p.puts(&reports.Result{ID: "c/x", Outcome: reports.Passed}, true))
	require.False(t, p.puts(&reports.Result{ID: "c/x", Outcome: reports.Unsupported}, true))
	require.True(t, p.puts(&reports.Result{ID: "c/late", Outcome: reports.Errored, Reason: "not within 2m"}, true))
	known := failed()
	known.Known = &reports.Known{}
	require.False(t, p.puts(known, true), "nobody waits for its verdict")
	require.False(t, p.has(requirement.Requirement{ID: "c/x"}))

	require.True(t, p.puts(failed(), true))
	require.True(t, p.has(requirement.Requirement{ID: "c/x"}))
	again := failed()
	require.False(t, p.puts(again, true), "once")
	require.Equal(t, "no answer", again.RetriedAlone)
	require.Equal(t, "put off as the nodes were too busy, and not judged again: by ^C; seen at first: no answer", p.waited("c/x", "by ^C"))
	require.Empty(t, p.waited("c/y", "by ^C"))
}
