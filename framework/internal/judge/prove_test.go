package judge

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// A proof by a fault wants red for the expected reason while the fault is seen to act, and green once it is lifted.
func TestProveByFault(t *testing.T) {
	for name, c := range map[string]struct {
		points  func(p *path) []requirement.Point
		refused bool // faults are not allowed
		want    reports.ProofState
		point   string
		says    string
		left    int // steps to undo that stay remembered
	}{
		"it acts": {
			points: func(p *path) []requirement.Point {
				return []requirement.Point{point("node", &injected{path: p, met: true}, noAnswer)}
			}, want: reports.Proved, point: "node (3 packets)",
		},
		"the first point that acts counts": {
			points: func(p *path) []requirement.Point {
				return []requirement.Point{
					{Where: "pod netns", Inject: func(context.Context, *requirement.Env) (requirement.Injected, error) {
						return nil, errors.New("no nftables there")
					}},
					point("veth", &injected{path: p}, nil),
					point("node", &injected{path: p, met: true}, noAnswer),
				}
			}, want: reports.Proved, point: "node (3 packets)",
		},
		"no point acts": {
			points: func(p *path) []requirement.Point {
				return []requirement.Point{point("veth", &injected{path: p}, nil), point("node", &injected{path: p, actErr: errAgent}, noAnswer)}
			}, want: reports.Unproved, says: "no injection point acts here; veth: it met none of the check's traffic; node: the agent is gone",
		},
		"red without a packet that met it proves nothing": {
			points: func(p *path) []requirement.Point {
				return []requirement.Point{point("node", &injected{path: p}, noAnswer)}
			}, want: reports.Unproved, says: "it met none of the check's traffic; the check ended with: ",
		},
		"it acts and the check stays green": {
			points: func(p *path) []requirement.Point {
				return []requirement.Point{point("node", &injected{path: p, met: true}, nil)}
			}, want: reports.Refuted, says: "the check can't see what it is for",
		},
		"red for another reason": {
			points: func(p *path) []requirement.Point {
				return []requirement.Point{point("node", &injected{path: p, met: true}, refused)}
			}, want: reports.Refuted, says: "red for another reason (refused) than expected ([no answer])",
		},
		"an error is no red": {
			points: func(p *path) []requirement.Point {
				return []requirement.Point{point("node", &injected{path: p, met: true}, errAgent)}
			}, want: reports.Refuted, says: "the check could not judge under its control: the agent is gone",
		},
		"it is not green again": {
			points: func(p *path) []requirement.Point {
				return []requirement.Point{point("node", &injected{path: p, met: true, stays: true}, noAnswer)}
			}, want: reports.Refuted, says: "it is not green again after the control was lifted",
		},
		"it can't be lifted": {
			points: func(p *path) []requirement.Point {
				return []requirement.Point{point("node", &injected{path: p, met: true, liftErr: errors.New("the table stays")}, noAnswer)}
			}, want: reports.Refuted, says: "the table stays", left: 1,
		},
		"faults are not allowed": {
			points: func(p *path) []requirement.Point {
				return []requirement.Point{point("node", &injected{path: p, met: true}, noAnswer)}
			}, refused: true, want: reports.Unproved, says: "only with -faults",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := &fakeStage{faults: !c.refused}, &path{}
			proof := newRound(t, s, Options{}).proveInFamilies(t.Context(), byFault(p, c.points(p)...), 0)
			require.Equal(t, c.want, proof.State, proof.Reason)
			require.Contains(t, proof.Reason, c.says)
			require.True(t, strings.HasPrefix(proof.Point, c.point), proof.Point)
			require.Len(t, s.undone, c.left)
			if c.want == reports.Proved {
				require.Contains(t, proof.Red, "timed out")
			}
		})
	}
}

func TestProveByVariant(t *testing.T) {
	type variant = requirement.Variant
	played := map[world.Role][]*requirement.End{world.HostIPC: {{Role: world.HostIPC}}}
	for name, c := range map[string]struct {
		variant variant
		broken  error // what the check finds under the variant
		want    reports.ProofState
		says    string
		undone  bool
	}{
		"red under the variant":        {variant{Fixture: "f"}, noAnswer, reports.Proved, "", false},
		"green under the variant":      {variant{Fixture: "f"}, nil, reports.Refuted, "stays green", false},
		"red for another reason":       {variant{Fixture: "f"}, refused, reports.Refuted, "for another reason", false},
		"somebody plays the role":      {variant{Roles: map[world.Role]world.Role{world.SiblingA: world.HostIPC}}, noAnswer, reports.Proved, "", false},
		"nobody plays the role":        {variant{Roles: map[world.Role]world.Role{world.SiblingA: world.NoSearch}}, noAnswer, reports.Unproved, "nobody plays the pod without a DNS search list: it was refused", false},
		"it is made and undone":        {variant{Make: made(nil, nil)}, noAnswer, reports.Proved, "", true},
		"it can't be made":             {variant{Make: made(errAgent, nil)}, noAnswer, reports.Unproved, "the variant could not be made: the agent is gone", false},
		"it can't be undone":           {variant{Make: made(nil, errAgent)}, noAnswer, reports.Refuted, "the variant could not be undone: the agent is gone", true},
		"a cluster of others":          {variant{Make: made(nil, nil), ClusterScoped: "Node objects"}, noAnswer, reports.Unproved, "the control makes Node objects, outside the run's own namespaces", false},
		"green, since it is not given": {variant{Fixture: "f", Given: given(errors.New("the pod has an IPC namespace of its own"))}, nil, reports.Unproved, "not what it is called here: the pod has an IPC namespace", false},
		"green although it is given":   {variant{Fixture: "f", Given: given(nil)}, nil, reports.Refuted, "stays green", false},
		"red, and not asked for":       {variant{Fixture: "f", Given: given(errAgent)}, noAnswer, reports.Proved, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			undone := false
			if make := c.variant.Make; make != nil {
				c.variant.Make = func(ctx context.Context, e *requirement.Env) (func(context.Context) error, error) {
					lift, err := make(ctx, e)
					return func(ctx context.Context) error { undone = true; return lift(ctx) }, err
				}
			}
			q := requirement.Requirement{ID: "pod/x", Check: func(_ context.Context, e *requirement.Env) error {
				if e.Variant == nil {
					return nil
				}
				require.Zero(t, e.Patience, "red needs no patience")
				return c.broken
			}, Control: requirement.Control{Red: []requirement.Reason{requirement.NoAnswer}, Variant: &c.variant}}
			proof := newRound(t, &fakeStage{ends: played}, Options{}).proveInFamilies(t.Context(), q, 0)
			require.Equal(t, c.want, proof.State, proof.Reason)
			require.Contains(t, proof.Reason, c.says)
			require.Equal(t, c.undone, undone)
		})
	}
}

func made(err, undo error) func(context.Context, *requirement.Env) (func(context.Context) error, error) {
	return func(context.Context, *requirement.Env) (func(context.Context) error, error) {
		return func(context.Context) error { return undo }, err
	}
}

func given(err error) func(context.Context, *requirement.Env) error {
	return func(context.Context, *requirement.Env) error { return err }
}

// What is refuted once may be an answer that was late; what is wrong is refuted twice. On busy nodes the second try waits.
func TestProveTwice(t *testing.T) {
	for name, c := range map[string]struct {
		tries []error // what each try's control turns the check into
		busy  bool
		again bool // it was put off before
		want  reports.ProofState
		says  string
		runs  int
		put   bool
	}{
		"proved at once":                {tries: []error{noAnswer}, want: reports.Proved, runs: 1},
		"proved on the second try":      {tries: []error{nil, noAnswer}, want: reports.Proved, says: "on the second try; the first: the control acts", runs: 2},
		"refuted twice":                 {tries: []error{nil, refused}, want: reports.Refuted, says: "another reason", runs: 2},
		"refuted, busy":                 {tries: []error{nil}, busy: true, want: reports.ProofNotRun, says: "to be tried again alone", runs: 1, put: true},
		"proved, busy":                  {tries: []error{noAnswer}, busy: true, want: reports.Proved, runs: 1},
		"tried again alone, proved":     {tries: []error{noAnswer}, busy: true, again: true, want: reports.Proved, says: "on the second try; the first: stayed green", runs: 1, put: true},
		"tried again alone, refuted":    {tries: []error{nil}, busy: true, again: true, want: reports.Refuted, says: "stays green", runs: 1, put: true},
		"tried again, told nothing":     {tries: []error{nil, errNotMet}, want: reports.Refuted, says: "stays green", runs: 2},
		"tried again alone, no tidings": {tries: []error{errNotMet}, again: true, want: reports.Refuted, says: "stayed green", runs: 1, put: true},
	} {
		t.Run(name, func(t *testing.T) {
			p, runs := &path{}, 0
			inject := func(context.Context, *requirement.Env) (requirement.Injected, error) {
				breaks := c.tries[runs]
				runs++
				met := breaks != errNotMet
				if !met {
					breaks = nil
				}
				p.set(breaks)
				return &injected{path: p, met: met}, nil
			}
			r := newRound(t, &fakeStage{faults: true}, Options{})
			if c.busy {
				r.busy.note(time.Now().Add(time.Hour))
			}
			q := byFault(p, requirement.Point{Where: "node", Inject: inject})
			if c.again {
				r.unsure.add(q.ID, "stayed green")
			}
			proof := r.proofOf(t.Context(), q, reports.Passed)
			require.Equal(t, c.want, proof.State, proof.Reason)
			require.Contains(t, proof.Reason, c.says)
			require.Equal(t, c.runs, runs)
			require.Equal(t, c.put, r.unsure.has(q))
		})
	}
}

// Red before the fault met anything is tried once more: a lost packet of another client hides the one that the fault is about.
func TestAFaultThatWasNotReachedIsTriedAgain(t *testing.T) {
	p, runs := &path{}, 0
	q := byFault(p, requirement.Point{Where: "node", Inject: func(context.Context, *requirement.Env) (requirement.Injected, error) {
		runs++
		p.set(noAnswer)
		return &injected{path: p, met: runs == 2}, nil
	}})
	proof := newRound(t, &fakeStage{faults: true}, Options{}).proveInFamilies(t.Context(), q, 0)
	require.Equal(t, reports.Proved, proof.State, proof.Reason)
	require.Equal(t, 2, runs)
}

// errNotMet has the fault of a try meet no traffic.
var errNotMet = errors.New("met nothing")

func TestAProofBeginsWithGreen(t *testing.T) {
	r := newRound(t, &fakeStage{faults: true}, Options{})
	for _, outcome := range []reports.Outcome{reports.Failed, reports.Errored, reports.Unsupported, reports.Skipped} {
		proof := r.proofOf(t.Context(), byFault(&path{}), outcome)
		require.Equal(t, reports.ProofNotRun, proof.State)
		require.Contains(t, proof.Reason, string(outcome))
	}
}

func TestAnInterruptedProofIsNotRefuted(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	p := &path{}
	q := byFault(p, requirement.Point{Where: "node", Inject: func(context.Context, *requirement.Env) (requirement.Injected, error) {
		stop(errors.New("interrupted by a test"))
		return &injected{path: p, met: true}, nil
	}})
	s := &fakeStage{faults: true}
	proof := newRound(t, s, Options{}).proveTwice(ctx, q)
	require.Equal(t, reports.ProofNotRun, proof.State)
	require.Equal(t, "interrupted by a test", proof.Reason)
	require.Empty(t, s.undone, "it is lifted all the same")
}

// A proof holds where it holds in each family that the requirement is judged in.
func TestProofsOfEachFamily(t *testing.T) {
	var seen []corev1.IPFamily
	q := requirement.Requirement{ID: "pod/x", PerFamily: true, Control: requirement.Control{Red: []requirement.Reason{requirement.NoAnswer}, Variant: &requirement.Variant{Fixture: "f"}},
		Check: func(_ context.Context, e *requirement.Env) error {
			if e.Variant == nil {
				return nil
			}
			seen = append(seen, e.Family)
			if e.Family == corev1.IPv6Protocol {
				return nil // the check can't see it over IPv6
			}
			return noAnswer
		}}
	both := []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	proof := newRound(t, &fakeStage{families: both}, Options{}).proveInFamilies(t.Context(), q, 0)
	require.Equal(t, reports.Refuted, proof.State)
	require.Equal(t, both, seen)
	q.PerFamily, seen = false, nil
	proof = newRound(t, &fakeStage{families: both}, Options{}).proveInFamilies(t.Context(), q, 0)
	require.Equal(t, reports.Proved, proof.State)
	require.Equal(t, both[:1], seen)
}
