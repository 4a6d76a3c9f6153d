package judge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

func TestDrawnOrderComesOfTheSeedAlone(t *testing.T) {
	c := Catalogue{All: []requirement.Requirement{{ID: "a/a"}, {ID: "a/b"}, {ID: "a/c"}, {ID: "a/d"}, {ID: "a/e"}}}
	ids := func(seed string) (s []string) {
		for _, q := range c.drawn(seed) {
			s = append(s, q.ID)
		}
		return s
	}
	require.Equal(t, []string{"a/a", "a/b", "a/c", "a/d", "a/e"}, ids(""))
	require.Equal(t, ids("x"), ids("x"))
	require.ElementsMatch(t, ids(""), ids("x"))
	require.NotEqual(t, ids("x"), ids("y"))
}

func TestPortsBelongToOneRequirement(t *testing.T) {
	c := Catalogue{All: []requirement.Requirement{{ID: "a/a"}, {ID: "a/b"}}}
	require.Equal(t, firstPort, c.port("a/a"))
	require.Equal(t, firstPort+requirement.PortsEach, c.port("a/b"))
	require.Equal(t, firstPort+2*requirement.PortsEach, c.FreePort())
}

func TestRolesOfWhatRuns(t *testing.T) {
	variant := requirement.Control{Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingA: world.HostIPC}}}
	fault := requirement.Control{Fault: &requirement.Fault{}}
	c := Catalogue{LeftOut: map[string]string{"c/c": "not chosen"}, All: []requirement.Requirement{
		{ID: "a/a", Roles: []world.Role{world.SiblingA}, Control: variant},
		{ID: "b/b", Roles: []world.Role{world.Far}, Wants: []world.Role{world.Near}, Control: fault},
		{ID: "b/c", Roles: []world.Role{world.HostNetwork}, Wants: []world.Role{world.Near}, PerNode: true, Control: fault},
		{ID: "d/d", Control: variant, MoreControls: []requirement.Control{{Variant: &requirement.Variant{
			Roles: map[world.Role]world.Role{world.SiblingA: world.OwnShmA}}}}},
		{ID: "c/c", Roles: []world.Role{world.Crowd}},
	}}
	plain := world.Roles{world.SiblingA: world.Once, world.Far: world.Once, world.Near: world.PerNode, world.HostNetwork: world.PerNode}
	require.Equal(t, plain, c.Roles(false))
	for _, role := range []world.Role{world.HostIPC, world.OwnShmA, world.Node, world.Liar} {
		plain[role] = world.Once
	}
	require.Equal(t, plain, c.Roles(true))
}

func TestTakes(t *testing.T) {
	few := Catalogue{All: []requirement.Requirement{{ID: "a/a"}}}
	require.Equal(t, judgeRows, few.Takes(false, 1), "at least")
	require.Equal(t, judgeRows+proveRows, few.Takes(true, 1))
	require.Equal(t, 3*judgeRows, few.Takes(false, 3))
	few.All[0].Slow = true
	require.Equal(t, judgeRows+slowRows, few.Takes(false, 1))
	few.LeftOut = map[string]string{"a/a": "not chosen"}
	require.Equal(t, judgeRows, few.Takes(false, 1))
	few.LeftOut, few.All[0].Slow, few.All[0].MoreControls = nil, false, make([]requirement.Control, 999)
	require.Equal(t, judgeRows+1000*proveRow, few.Takes(true, 1).Round(time.Millisecond))
	many := Catalogue{All: make([]requirement.Requirement, 1000)}
	require.Equal(t, 1000*judgeRow+1000*proveRow, many.Takes(true, 1).Round(time.Millisecond))
}

func TestCompleteHasARowForEverything(t *testing.T) {
	c := Catalogue{All: []requirement.Requirement{{ID: "a/judged"}, {ID: "a/not-chosen"}, {ID: "a/other-chapter"}, {ID: "a/not-reached"}, {ID: "a/retried"}},
		Chosen:  map[string]string{"a/not-chosen": "not chosen by -select"},
		LeftOut: map[string]string{"a/not-chosen": "not chosen by -select", "a/other-chapter": "not of a handler"}}
	record := NewRecord("c", []string{"nftables"})
	require.False(t, record.Judged())
	record.keep(reports.Result{ID: "a/judged", Outcome: reports.Passed})
	record.retries.add("a/retried", "no answer")
	require.True(t, record.Judged())
	var all []string
	for _, result := range record.Complete(c, "interrupted").Results {
		all = append(all, result.ID+": "+string(result.Outcome)+": "+result.Reason)
		require.Equal(t, result.ID == "a/other-chapter", result.NotAsked, result.ID)
	}
	require.Equal(t, []string{"a/judged: passed: ", "a/not-chosen: skipped: not chosen by -select", "a/other-chapter: skipped: not of a handler",
		"a/not-reached: error: not reached: interrupted",
		"a/retried: error: put off as the nodes were too busy, and not judged again: interrupted; seen at first: no answer"}, all)
	require.Equal(t, reports.Skipped, record.Complete(c, "").Results[3].Outcome)
}
