package stage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/parley-k8s/parley/fixtures/agent/control"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/handler"
	"github.com/parley-k8s/parley/framework/internal/lab"
	"github.com/parley-k8s/parley/framework/internal/nodehealth"
	"github.com/parley-k8s/parley/framework/internal/progress"
	"github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/framework/internal/undo"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/reports"
)

// Options say what world is deployed.
type Options struct {
	Run runid.ID
	// Name begins the names of the world's namespaces.
	Name string
	// Handler is the OCI handler of the pods, and the name of its RuntimeClass; "" leaves it to the cluster.
	Handler string
	// Roles are those that something is going to ask for, and where.
	Roles       world.Roles
	PullSecrets []string // of the agent's image, as namespace/name
	Keep        bool     // nothing is removed
	Faults      bool     // faults may be injected although the cluster is the user's
	Log         *progress.Log
}

// Stage is the world as it is deployed on a cluster. It is made by New, Prepare and Deploy, in this order, and removed by Close, which
// can follow any of them.
type Stage struct {
	options Options
	lab     *lab.Lab
	cluster *cluster.Cluster
	kube    kubernetes.Interface

	class  *nodev1.RuntimeClass // what the pods run as; nil where that is left to the cluster
	plan   world.Plan
	suite  control.Suite
	leases *nodehealth.Leases
	// candidates are the nodes that the plan chooses from; found is why some of them are left out, or can't be judged like the others.
	candidates []candidate
	found      []requirement.NodeFinding
	finding    sync.Mutex
	running    map[string]*corev1.Pod // the world's pods, by namespace and name
	families   []corev1.IPFamily
	players    *players
	undo       undo.List
	made       []string // the namespaces that were made

	witnesses    sync.Once
	witnessError error
}

// New is the stage of one column on the lab's cluster, on which nothing is made yet.
func New(l *lab.Lab, o Options) *Stage {
	return &Stage{options: o, lab: l, cluster: l.Cluster, kube: l.Cluster.Client(), families: l.Facts.Families,
		running: map[string]*corev1.Pod{}}
}

// Prepare plans the world, and brings what it needs besides namespaces: a RuntimeClass, the reference implementations' image. The
// error is a *HandlerMissing where the nodes lack the OCI handler.
func (s *Stage) Prepare(ctx context.Context) error {
	var err error
	if s.class, err = s.runtimeClass(ctx, s.options.Handler); err != nil {
		return err
	}
	if err := s.planWorld(ctx); err != nil {
		return err
	}
	return s.planReference(ctx)
}

// Deploy makes the world and waits until all of its pods run.
func (s *Stage) Deploy(ctx context.Context) error {
	s.players = newPlayers(s.cluster.Config(), s.kube, s.plan)
	s.players.suite, s.players.leases, s.players.findings = s.suite, s.leases, s.found
	s.undo.Add("closing the agents' streams", func(context.Context) error { s.players.close(); return nil })
	s.explainMissing()
	if err := s.addOutside(); err != nil {
		return err
	}
	start := time.Now()
	if err := s.deployWorld(ctx); err != nil {
		return fmt.Errorf("the world could not be set up: %w", err)
	}
	s.options.Log.Say("world: %d agents run (%.1fs)", s.players.size(), time.Since(start).Seconds())
	return nil
}

// Close removes the world; what can't be removed is said. On a cluster that is kept for a look it stays.
func (s *Stage) Close(ctx context.Context) {
	s.undo.All(ctx, func(what string, err error) { s.options.Log.Say("%s failed: %s", what, err) })
}

// namespacesGone bounds the removal of one column's world before the next one's is made: the kubelets end some 75 pods.
const namespacesGone = 3 * time.Minute

// Gone waits, after Close, until the world's namespaces are gone: the next world's pods want its room, and perhaps its ports.
func (s *Stage) Gone(ctx context.Context) error {
	if s.options.Keep {
		return nil
	}
	for _, name := range s.made {
		_, err := until.Settled(ctx, until.Policy{Within: namespacesGone, Every: time.Second}, func(ctx context.Context) error {
			_, err := s.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return errors.Join(fmt.Errorf("the namespace %s is still there", name), err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// undoUnlessKept undoes what was put on the cluster; on one that is kept for a look it stays.
func (s *Stage) undoUnlessKept(what string, do func(context.Context) error) {
	if !s.options.Keep {
		s.undo.Add(what, do)
	}
}

// Undo remembers how to undo something that is done to the world, such as a fault; forget is called when that was undone before.
func (s *Stage) Undo(what string, do func(context.Context) error) (forget func()) {
	return s.undo.Add(what, do)
}

// Env is what a check sees of the world in a family, without the patience and the ports that the judge gives it.
func (s *Stage) Env(q requirement.Requirement, family corev1.IPFamily) *requirement.Env {
	return &requirement.Env{Requirement: &q, Kube: s.kube, Config: s.cluster.Config(), Family: family, Players: s.players, World: s.plan}
}

// Families are the cluster's address families, the primary one first.
func (s *Stage) Families() []corev1.IPFamily { return s.families }

// Ends are those who play the role.
func (s *Stage) Ends(r world.Role) []*requirement.End { return s.players.Ends(r) }

// Workers are the nodes that take ordinary pods: there is at least one.
func (s *Stage) Workers() []string { return s.plan.Workers }

// Missing says why a requirement's roles can't all be played as they are seen from a worker: see players.missingFor.
func (s *Stage) Missing(q requirement.Requirement, node string) (reports.Outcome, string) {
	return s.players.missingFor(q, node)
}

// Without says which nodes and pods the requirement is judged without, a sentence each.
func (s *Stage) Without(q requirement.Requirement) []string { return s.players.without(q) }

// WhyNobody says why nobody plays the role; "" where nothing stood in its way.
func (s *Stage) WhyNobody(r world.Role) string { return s.players.why(r) }

// FaultsAllowed says whether controls may inject faults: on clusters that were made here, or where the user says so.
func (s *Stage) FaultsAllowed() bool { return s.cluster.Owned() || s.options.Faults }

// Sandboxed says whether the pods run under a RuntimeClass, which may give each a kernel of its own.
func (s *Stage) Sandboxed() bool { return s.class != nil }

// Facts say what the pods run under, as a report has it; none where that is left to the cluster.
func (s *Stage) Facts() []reports.Fact {
	if s.class == nil {
		return nil
	}
	facts := []reports.Fact{{Name: handler.Fact, Value: s.class.Handler}}
	if s.class.Name != s.class.Handler {
		facts = append(facts, reports.Fact{Name: "RuntimeClass", Value: s.class.Name})
	}
	return facts
}

// World is the world as it was planned.
func (s *Stage) World() world.Plan { return s.plan }

// Players are who plays which role.
func (s *Stage) Players() requirement.Players { return s.players }
