package reports

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func withNodes(nodes ...NodeFinding) *Report {
	r := New("x", time.Time{})
	r.Clusters = []Cluster{{Name: "c", Nodes: nodes, Facts: []Fact{{"Kubernetes", "v1"}}, Results: []Result{{ID: "pod/x", Chapter: "pod", Level: Must, Outcome: Passed}}}}
	return r
}

var (
	hung = NodeFinding{Node: "worker2", State: "renews no Lease", Said: "renewed last at 3", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Sick: true, LeftOut: true}
	mute = NodeFinding{Node: "worker", State: "answers no exec", Said: "dial tcp: i/o timeout", Sick: true, Instead: "reached by relays"}
	kept = NodeFinding{Node: "gpu", State: "tainted", Said: "ordinary pods don't tolerate gpu:NoSchedule", LeftOut: true}
)

func TestNodesAreNamedAtTheTop(t *testing.T) {
	r := withNodes(hung, mute, kept)
	var b bytes.Buffer
	require.NoError(t, WriteSummary(&b, r, false))
	require.Equal(t, `cluster c

SICK NODES
  worker2: renews no Lease since 2026-01-02T03:04:05Z: renewed last at 3; judged without it
  worker: answers no exec: dial tcp: i/o timeout; reached by relays

NODES THAT TAKE NO ORDINARY PODS
  gpu: tainted: ordinary pods don't tolerate gpu:NoSchedule; judged without it

  Kubernetes  v1

  pod  1 passed of 1

1 passed of 1
  NOT JUDGED ON worker2: renews no Lease since 2026-01-02T03:04:05Z: renewed last at 3; judged without it
`, b.String())

	b.Reset()
	require.NoError(t, WriteJUnit(&b, r))
	require.Contains(t, b.String(), `<property name="finding on node worker" value="worker: answers no exec: dial tcp: i/o timeout; reached by relays"></property>`)

	b.Reset()
	require.NoError(t, WriteJSON(&b, r))
	var back struct{ Clusters []Cluster }
	require.NoError(t, json.Unmarshal(b.Bytes(), &back))
	require.Equal(t, r.Clusters[0].Nodes, back.Clusters[0].Nodes)

	b.Reset()
	require.NoError(t, WriteComparison(&b, Compare(r), false))
	require.Contains(t, b.String(), "SICK NODES\n  c: worker2: renews no Lease")
	b.Reset()
	require.NoError(t, WriteComparisonMarkdown(&b, Compare(r)))
	require.Contains(t, b.String(), "**Sick node: c: worker2: renews no Lease since")
	require.Contains(t, b.String(), "Node that takes no ordinary pods: c: gpu: tainted")
}

// What held on the nodes that are left says nothing of the one that is not, unless a failure tells of it.
func TestASickNodeThatIsLeftOutIsNotPassed(t *testing.T) {
	require.Equal(t, ExitUnjudged, withNodes(hung).ExitCode(false))
	require.Equal(t, ExitPassed, withNodes(mute, kept).ExitCode(false), "all was judged, as far as the owner lets pods in")
	red := withNodes(hung)
	red.Clusters[0].Results = append(red.Clusters[0].Results, Result{ID: nodeRow, Level: Must, Outcome: Failed})
	require.Equal(t, ExitFailed, red.ExitCode(false))
	red.Clusters[0].Results[1].Known = &Known{}
	require.Equal(t, ExitPassed, red.ExitCode(false), "the failure that tells of it is accepted")
}
