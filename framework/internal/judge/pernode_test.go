package judge

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// A fault on any node is seen, whichever it is, and the sentence says where it holds.
func TestPerNodeIsJudgedOnEachNode(t *testing.T) {
	two := []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	for name, c := range map[string]struct {
		perNode, perFamily, long bool
		missing                  map[string]string // node -> why its fixture is not there
		broken                   []string          // nodes
		outcome                  reports.Outcome
		reason                   string
		byNode                   int
	}{
		"whole":                      {perNode: true, outcome: reports.Passed, byNode: 3},
		"the first":                  {perNode: true, broken: []string{"n1"}, outcome: reports.Failed, reason: "; on n1, not on n2 and n3", byNode: 3},
		"the last":                   {perNode: true, broken: []string{"n3"}, outcome: reports.Failed, reason: "; on n3, not on n1 and n2", byNode: 3},
		"two, side by side":          {perNode: true, long: true, broken: []string{"n2", "n3"}, outcome: reports.Failed, reason: "; on n2 and n3, not on n1", byNode: 3},
		"all":                        {perNode: true, broken: []string{"n1", "n2", "n3"}, outcome: reports.Failed, reason: "; on every node", byNode: 3},
		"in both families":           {perNode: true, perFamily: true, broken: []string{"n2"}, outcome: reports.Failed, reason: "; on n2, not on n1 and n3", byNode: 6},
		"one without its fixture":    {perNode: true, missing: map[string]string{"n2": "a fixture did not start"}, outcome: reports.Errored, reason: "a fixture did not start; on n2, not on n1 and n3", byNode: 3},
		"the rest with a failure":    {perNode: true, missing: map[string]string{"n2": "it did not start"}, broken: []string{"n3"}, outcome: reports.Failed, reason: "; on n3, not on n1 and n2", byNode: 3},
		"all without their fixtures": {perNode: true, missing: map[string]string{"n1": "no", "n2": "no", "n3": "no"}, outcome: reports.Errored, reason: "no"},
		"not per node":               {broken: []string{"n2"}, outcome: reports.Passed},
	} {
		t.Run(name, func(t *testing.T) {
			s := &fakeStage{families: two, workers: []string{"n1", "n2", "n3"}, missingFrom: c.missing}
			r := newRound(t, s, Options{})
			var mu sync.Mutex
			asked := map[string]int{}
			q := requirement.Requirement{ID: "pod/x", PerNode: c.perNode, PerFamily: c.perFamily, Long: c.long, Check: func(_ context.Context, e *requirement.Env) error {
				mu.Lock()
				defer mu.Unlock()
				asked[e.Node]++
				for _, node := range c.broken {
					if node == e.Node {
						return noAnswer
					}
				}
				return nil
			}}
			result := r.resultOf(t.Context(), q)
			require.Equal(t, c.outcome, result.Outcome, result.Reason)
			require.Contains(t, result.Reason, c.reason)
			require.Len(t, result.ByNode, c.byNode)
			if !c.perNode {
				require.Equal(t, map[string]int{"": 1}, asked)
			}
			for _, v := range result.ByNode {
				require.Equal(t, c.missing[v.Node] != "", v.Outcome == reports.Errored, v.Node)
			}
			if c.perFamily {
				require.Len(t, result.Verdicts, 2)
				require.Equal(t, reports.Failed, result.Verdicts[1].Outcome)
			}
		})
	}
}

// What failed somewhere is not waited for elsewhere.
func TestPatienceEndsWithTheFirstFailure(t *testing.T) {
	s := &fakeStage{workers: []string{"n1", "n2", "n3"}}
	r := newRound(t, s, Options{})
	var waited []bool
	q := requirement.Requirement{ID: "pod/x", PerNode: true, Check: func(_ context.Context, e *requirement.Env) error {
		waited = append(waited, e.Patience == patience)
		if e.Node == "n2" {
			return noAnswer
		}
		return nil
	}}
	require.Equal(t, reports.Failed, r.resultOf(t.Context(), q).Outcome)
	require.Equal(t, []bool{true, true, false}, waited)
}

// A proof is made on the last node, unless the control's roles are played near the first alone.
// A failure that a busy machine may have made on one node does not have another put off that no machine makes.
func TestWhatIsFinalOnAnyNodeIsFinal(t *testing.T) {
	r := newRound(t, &fakeStage{workers: []string{"n1", "n2", "n3"}}, Options{})
	q := requirement.Requirement{ID: "pod/x", PerNode: true, Check: func(_ context.Context, e *requirement.Env) error {
		switch e.Node {
		case "n1":
			return noAnswer
		case "n2":
			return &requirement.Failure{Reason: requirement.Broken, Observed: "other bytes", Final: requirement.ChangedIsFinal}
		}
		return nil
	}}
	result := r.resultOf(t.Context(), q)
	require.Equal(t, reports.Failed, result.Outcome)
	require.Equal(t, requirement.ChangedIsFinal, result.Failure.Final)
	require.Contains(t, result.Reason, "other bytes")
	require.Contains(t, result.Reason, "not tried again: "+requirement.ChangedIsFinal)
	require.False(t, retriable(result))

	q.Check = func(context.Context, *requirement.Env) error {
		return &requirement.Failure{Reason: requirement.WrongPeer}
	}
	require.False(t, retriable(r.resultOf(t.Context(), q)), "by its reason")
	q.Check = func(context.Context, *requirement.Env) error { return noAnswer }
	require.True(t, retriable(r.resultOf(t.Context(), q)))
}

func TestProveFrom(t *testing.T) {
	j := New(&fakeStage{workers: []string{"n1", "n2"}}, NewRecord("x", nil), Options{})
	fault := requirement.Control{Fault: &requirement.Fault{}}
	roles := requirement.Control{Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingB: world.Near}}}
	made := requirement.Control{Variant: &requirement.Variant{Fixture: "other"}}
	require.Equal(t, "n2", j.proveFrom(requirement.Requirement{PerNode: true, Control: fault}))
	require.Equal(t, "n1", j.proveFrom(requirement.Requirement{PerNode: true, Control: roles}))
	require.Equal(t, "n2", j.proveFrom(requirement.Requirement{PerNode: true, Control: made}))
	require.Empty(t, j.proveFrom(requirement.Requirement{Control: fault}))
}

func TestOfSeveralFailuresTheOneThatSaysMostIsTold(t *testing.T) {
	plain, caused := reports.Failure{Observed: "silence"}, reports.Failure{Observed: "silence", Cause: "a rule"}
	known := reports.Failure{Observed: "silence", Final: requirement.KnownIsFinal}
	changed := reports.Failure{Observed: "other bytes", Final: requirement.ChangedIsFinal}
	for name, c := range map[string]struct {
		seen []reports.Failure
		want reports.Failure
	}{
		"the first":                    {[]reports.Failure{plain, known}, plain},
		"what breaks it is known":      {[]reports.Failure{plain, caused}, caused},
		"nothing forgives it":          {[]reports.Failure{caused, changed}, changed},
		"nobody waits for it is less":  {[]reports.Failure{caused, known}, caused},
		"forgiven by nothing is first": {[]reports.Failure{changed, caused}, changed},
	} {
		t.Run(name, func(t *testing.T) {
			var result reports.Result
			for _, f := range c.seen {
				seen{failure: &f}.into(&result, false)
			}
			require.Equal(t, c.want, *result.Failure)
		})
	}
}
