package reports

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatChangedIsTold(t *testing.T) {
	r := exampleReport()
	require.NotContains(t, string(written(t, WriteJUnit, r)), "changed")
	r.Clusters[0].Changes = []Change{{"node w2", "is not Ready since 10:03:07 (NodeStatusUnknown)"}, {"pod kube-system/coredns-1 on w1", "is gone"}}
	var summary bytes.Buffer
	require.NoError(t, WriteSummary(&summary, r, false))
	body, closing, _ := strings.Cut(summary.String(), "; took 2m31s")
	require.Contains(t, body, "CHANGED DURING THE RUN\n  node w2 is not Ready since 10:03:07 (NodeStatusUnknown)\n  pod kube-system/coredns-1 on w1 is gone\n")
	require.Contains(t, closing, "CHANGED node w2 is not Ready since 10:03:07 (NodeStatusUnknown)\n", "and at the very end")

	junit := written(t, WriteJUnit, r)
	require.NoError(t, checkJUnit(junit))
	require.Contains(t, string(junit), `<testcase classname="parley.run" name="run/unchanged/kind-parley"`)
	require.Contains(t, string(junit), `<skipped type="changed" message="changed during the run: node w2 is not Ready`)

	read, err := ReadReport(bytes.NewReader(written(t, WriteJSON, r)))
	require.NoError(t, err)
	require.Equal(t, r.Clusters[0].Changes, read.Clusters[0].Changes)
	require.Equal(t, ExitFailed, r.ExitCode(false), "as without them")

	c := Compare(r)
	var text, md bytes.Buffer
	require.NoError(t, WriteComparison(&text, c, false))
	require.Contains(t, text.String(), "CHANGED DURING THE RUN: kind-parley\n  node w2 is not Ready")
	require.NoError(t, WriteComparisonMarkdown(&md, c))
	require.Contains(t, md.String(), "**Changed during the run: kind-parley: node w2 is not Ready")
}
