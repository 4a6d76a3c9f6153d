package judge

import (
	"context"
	"errors"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/progress"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// fakeStage is a cluster on which there is nobody and nothing: requirements of these tests look at switches instead.
type fakeStage struct {
	families []corev1.IPFamily
	workers  []string
	ends     map[world.Role][]*requirement.End
	missing  map[string]string // requirement ID -> why it is unsupported
	// missingFrom says of a worker why the fixtures near it are not there.
	missingFrom map[string]string
	faults      bool
	kube        kubernetes.Interface // nil is an empty one for each that asks

	mu     sync.Mutex
	undone []string // what was remembered to be undone and not forgotten
}

func (s *fakeStage) Env(q requirement.Requirement, family corev1.IPFamily) *requirement.Env {
	kube := s.kube
	if kube == nil {
		kube = fake.NewClientset()
	}
	return &requirement.Env{Requirement: &q, Kube: kube, Family: family, Players: fakePlayers{stage: s}}
}

func (s *fakeStage) Families() []corev1.IPFamily          { return s.families }
func (s *fakeStage) Ends(r world.Role) []*requirement.End { return s.ends[r] }
func (s *fakeStage) WhyNobody(world.Role) string          { return "it was refused" }
func (s *fakeStage) Without(requirement.Requirement) []string {
	return nil
}
func (s *fakeStage) FaultsAllowed() bool             { return s.faults }
func (s *fakeStage) Sandboxed() bool                 { return false }
func (s *fakeStage) Witnesses(context.Context) error { return nil }
func (s *fakeStage) Workers() []string               { return s.workers }
func (s *fakeStage) Missing(q requirement.Requirement, node string) (reports.Outcome, string) {
	if why := s.missingFrom[node]; why != "" {
		return reports.Errored, why
	}
	return reports.Unsupported, s.missing[q.ID]
}

func (s *fakeStage) Undo(what string, _ func(context.Context) error) (forget func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undone = append(s.undone, what)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.undone = s.undone[:len(s.undone)-1]
	}
}

// fakePlayers answer the evidence's questions.
type fakePlayers struct {
	requirement.Players // of the rest nothing is asked
	stage               *fakeStage
}

func (p fakePlayers) Ends(r world.Role) []*requirement.End { return p.stage.Ends(r) }
func (p fakePlayers) EndsFrom(_ string, r world.Role) []*requirement.End {
	return p.stage.Ends(r)
}

// newRound is a round of a judge of the fake, without e2e-framework around it.
func newRound(t *testing.T, s *fakeStage, o Options) *round {
	t.Helper()
	if s.families == nil {
		s.families = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	o.Log, o.Report, o.Features = progress.New(true), t.TempDir(), envconf.New().WithParallelTestEnabled()
	o.Rounds = max(1, o.Rounds)
	return &round{Judge: New(s, NewRecord("fake", nil), o), ctx: t.Context(), results: map[string]*reports.Result{}}
}

// path is a path that works until something breaks it: what a check of these tests looks at and a control changes.
type path struct {
	mu     sync.Mutex
	broken error
}

func (p *path) set(broken error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = broken
}

func (p *path) check(context.Context, *requirement.Env) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

var (
	noAnswer = &requirement.Failure{Reason: requirement.NoAnswer, Expected: "an answer", Observed: "timed out"}
	refused  = &requirement.Failure{Reason: requirement.Refused, Expected: "an answer", Observed: "connection refused"}
	errAgent = errors.New("the agent is gone")
)

// injected is a fault that breaks the path, as a control injects it.
type injected struct {
	path    *path
	met     bool  // whether it is seen to meet traffic
	stays   bool  // it goes on acting after it is lifted
	actErr  error // of the question whether it acted
	liftErr error
}

func (i *injected) Acted(context.Context) (bool, string, error) { return i.met, "3 packets", i.actErr }
func (i *injected) Lift(context.Context) error {
	if !i.stays {
		i.path.set(nil)
	}
	return i.liftErr
}

// point injects a fault that breaks the path in that way.
func point(where string, i *injected, breaks error) requirement.Point {
	return requirement.Point{Where: where, Inject: func(context.Context, *requirement.Env) (requirement.Injected, error) {
		i.path.set(breaks)
		return i, nil
	}}
}

func byFault(p *path, points ...requirement.Point) requirement.Requirement {
	return requirement.Requirement{ID: "pod/x", Check: p.check, Control: requirement.Control{Says: "the path cut",
		Red: []requirement.Reason{requirement.NoAnswer}, Fault: &requirement.Fault{Points: points}}}
}
