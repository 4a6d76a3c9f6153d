package judge

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// A part that is about a role that nobody plays is not judged, and not proved.
func TestAControlOfAPartThatIsNotJudgedIsLeftOut(t *testing.T) {
	q := requirement.Requirement{ID: "pod/x", Wants: []world.Role{world.Far, world.Node},
		Check: func(_ context.Context, e *requirement.Env) error {
			if e.Variant != nil {
				return noAnswer
			}
			return nil
		},
		Control: requirement.Control{Says: "a", Variant: &requirement.Variant{Fixture: "a"}, Red: []requirement.Reason{requirement.NoAnswer}}}
	for _, role := range q.Wants {
		c := q.Control
		c.Wants = []world.Role{role}
		q.MoreControls = append(q.MoreControls, c)
	}
	for want, played := range map[int]map[world.Role][]*requirement.End{0: nil, 2: {world.Node: {{}}}, 3: {world.Node: {{}}, world.Far: {{}}}} {
		proof := newRound(t, &fakeStage{ends: played}, Options{}).proofOf(t.Context(), q, reports.Passed)
		require.Equal(t, reports.Proved, proof.State, proof.Reason)
		require.Len(t, proof.Parts, want)
	}
}

// A check of two halves, of which each control breaks one: a half that the check does not look at refutes the proof.
func TestEachControlIsProvedOnItsOwn(t *testing.T) {
	first, second := "the first half broken", "the second half broken"
	notMade := func(context.Context, *requirement.Env) (func(context.Context) error, error) { return nil, errAgent }
	for name, c := range map[string]struct {
		sees    []string // the halves that the check looks at
		notMade string   // the control that can't be made
		want    reports.ProofState
		how     string
		parts   []reports.ProofState
	}{
		"both halves looked at":      {[]string{first, second}, "", reports.Proved, first, []reports.ProofState{reports.Proved, reports.Proved}},
		"the second half deleted":    {[]string{first}, "", reports.Refuted, second, []reports.ProofState{reports.Proved, reports.Refuted}},
		"the first half deleted":     {[]string{second}, "", reports.Refuted, first, []reports.ProofState{reports.Refuted, reports.ProofNotRun}},
		"the first can't be broken":  {[]string{first, second}, first, reports.Unproved, first, []reports.ProofState{reports.Unproved, reports.Proved}},
		"the second can't be broken": {[]string{first, second}, second, reports.Unproved, second, []reports.ProofState{reports.Proved, reports.Unproved}},
	} {
		t.Run(name, func(t *testing.T) {
			q := requirement.Requirement{ID: "pod/x", Check: func(_ context.Context, e *requirement.Env) error {
				for _, half := range c.sees {
					if e.Fixture(half) {
						return noAnswer
					}
				}
				return nil
			}}
			for _, half := range []string{first, second} {
				v := &requirement.Variant{Fixture: half}
				if half == c.notMade {
					v.Make = notMade
				}
				q.MoreControls = append(q.MoreControls, requirement.Control{Says: half, Variant: v, Red: []requirement.Reason{requirement.NoAnswer}})
			}
			q.Control, q.MoreControls = q.MoreControls[0], q.MoreControls[1:]
			proof := newRound(t, &fakeStage{}, Options{}).proofOf(t.Context(), q, reports.Passed)
			require.Equal(t, c.want, proof.State, proof.Reason)
			require.Equal(t, "variant: "+c.how, proof.How)
			var states []reports.ProofState
			for i, p := range proof.Parts {
				states = append(states, p.State)
				require.Equal(t, "variant: "+[]string{first, second}[i], p.How)
			}
			require.Equal(t, c.parts, states)
		})
	}
}

// What a control leaves nothing of to be lifted need not be followed by green before the next one, and the proof ends in green all the same.
func TestEachProofEndsInGreen(t *testing.T) {
	const own, lifted, unmade = "own", "lifted", "unmade"
	control := map[string]*requirement.Variant{own: {Fixture: own}, lifted: {Fixture: lifted, Make: made(nil, nil)}, unmade: {Make: made(errAgent, nil)}}
	for name, c := range map[string]struct {
		controls []string
		broken   bool // it is not green again
		want     reports.ProofState
		seen     string // r: a run under a control, g: one without
		parts    []reports.ProofState
	}{
		"one of them":                  {[]string{own}, false, reports.Proved, "rg", nil},
		"two with nothing to lift":     {[]string{own, own}, false, reports.Proved, "rrg", []reports.ProofState{reports.Proved, reports.Proved}},
		"something was lifted before":  {[]string{lifted, own}, false, reports.Proved, "rgrg", []reports.ProofState{reports.Proved, reports.Proved}},
		"the last can't be made":       {[]string{own, unmade}, false, reports.Unproved, "rg", []reports.ProofState{reports.Proved, reports.Unproved}},
		"not green, the last not made": {[]string{own, unmade}, true, reports.Refuted, "rg", []reports.ProofState{reports.Refuted, reports.Unproved}},
		"not green after two":          {[]string{own, own}, true, reports.Refuted, "rrg", []reports.ProofState{reports.Proved, reports.Refuted}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := ""
			q := requirement.Requirement{ID: "pod/x", Check: func(_ context.Context, e *requirement.Env) error {
				if e.Variant != nil {
					seen += "r"
					return noAnswer
				}
				if seen += "g"; c.broken {
					return noAnswer
				}
				return nil
			}}
			for _, name := range c.controls {
				q.MoreControls = append(q.MoreControls, requirement.Control{Says: name, Variant: control[name], Red: []requirement.Reason{requirement.NoAnswer}})
			}
			q.Control, q.MoreControls = q.MoreControls[0], q.MoreControls[1:]
			proof := newRound(t, &fakeStage{}, Options{}).proveByEach(t.Context(), q)
			require.Equal(t, c.want, proof.State, proof.Reason)
			require.Equal(t, c.seen, seen)
			var states []reports.ProofState
			for _, p := range proof.Parts {
				states = append(states, p.State)
			}
			require.Equal(t, c.parts, states)
			if c.broken {
				require.Contains(t, proof.Reason, "not green again")
			}
		})
	}
}
