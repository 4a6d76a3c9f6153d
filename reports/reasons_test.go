package reports

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBecauseLines(t *testing.T) {
	require.Empty(t, groupedReasonLines(nil))
	require.Equal(t, []string{"a: x", "c: x", "b: y"}, groupedReasonLines([]resultReason{{"x", "a"}, {"y", "b"}, {"x", "c"}}))
	require.Equal(t, []string{"a and 3 more: x", "b: y"}, groupedReasonLines([]resultReason{{"x", "a"}, {"y", "b"}, {"x", "c"}, {"x", "d"}, {"x", "e"}}))
}

// A cluster that could not be made is no difference in any requirement, and takes a line instead of one for each.
func TestAClusterThatWasNotJudged(t *testing.T) {
	const rows = 50
	report := &Report{Clusters: []Cluster{{Name: "one"}, {Name: "two", Interrupted: "it did not become ready"}, {Name: "three"}}}
	for i := range rows {
		id := fmt.Sprintf("c/%02d", i)
		good := Result{ID: id, Chapter: "c", Level: Must, Outcome: Passed}
		if i == rows-1 {
			good.Outcome, good.Reason = Unsupported, "no SCTP"
		}
		bad := Result{ID: id, Chapter: "c", Level: Must, Outcome: Errored, Reason: "not reached: it did not become ready"}
		report.Clusters[0].Results = append(report.Clusters[0].Results, good)
		report.Clusters[1].Results = append(report.Clusters[1].Results, bad)
		report.Clusters[2].Results = append(report.Clusters[2].Results, good)
	}
	c := Compare(report)
	require.Len(t, c.Differences, rows)
	for _, d := range c.Differences {
		require.False(t, d.Unexplained, d.ID)
	}
	for name, write := range map[string]func(*strings.Builder) error{
		"text":     func(b *strings.Builder) error { return WriteComparison(b, c, false) },
		"markdown": func(b *strings.Builder) error { return WriteComparisonMarkdown(b, c) },
	} {
		var b strings.Builder
		require.NoError(t, write(&b), name)
		require.Contains(t, b.String(), "3 clusters, 0 differences, 50 judged on some only", name)
		require.Equal(t, 1, strings.Count(b.String(), "not reached"), name)
		require.Contains(t, strings.ReplaceAll(b.String(), "**", ""), "c/00 and 49 more", name)
	}
}
