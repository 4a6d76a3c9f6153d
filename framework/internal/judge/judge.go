package judge

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/progress"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// Stage is what judging sees of a cluster: the world that is deployed on it.
type Stage interface {
	// Env is what a check of the requirement sees in a family. The judge gives it patience and ports.
	Env(q requirement.Requirement, family corev1.IPFamily) *requirement.Env
	// Families are the cluster's address families, the primary one first; there is at least one.
	Families() []corev1.IPFamily
	// Ends are those who play the role, by node.
	Ends(world.Role) []*requirement.End
	// Workers are the nodes that take ordinary pods; there is at least one.
	Workers() []string
	// Missing says why the requirement can't be judged here, with its roles as they are seen from the worker ("" is the first): Unsupported
	// where the cluster has nobody for a role or lacks what is needed, Errored where a fixture should be there and is not. The reason is
	// "" where it can be judged.
	Missing(q requirement.Requirement, node string) (outcome reports.Outcome, reason string)
	// Without says which nodes and pods the requirement is judged without, a sentence each.
	Without(q requirement.Requirement) []string
	// WhyNobody says why nobody plays the role; "" where somebody does or nothing stood in the way.
	WhyNobody(world.Role) string
	// FaultsAllowed says whether faults may be injected.
	FaultsAllowed() bool
	// Sandboxed says whether the pods run under a RuntimeClass, which may give each a kernel of its own.
	Sandboxed() bool
	// Undo remembers how to undo something for the case that the run ends before it is undone; forget is called when it was.
	Undo(what string, do func(context.Context) error) (forget func())
	// Witnesses has an agent and a pod on every node, which a diagnosis asks.
	Witnesses(context.Context) error
}

// Options say how the requirements are judged.
type Options struct {
	Catalogue Catalogue
	Strict    bool // a failed SHOULD fails the run
	// User is whom the run acts for, as the API server knows it; "" where that is not known.
	User   string
	Rounds int // how often all is judged: 1 or more

	Prove       bool
	ProveOnly   requirement.Selection // of those that run
	ProveWithin time.Duration         // no proof begins later; 0 is no bound
	ProveSeed   string                // draws the order; "" leaves that of the catalogue

	// Features choose besides, as e2e-framework's flags do.
	Features *envconf.Config
	Known    []reports.Known // differences that are known
	// Report is the folder of the reports, Folder the column's part of it; evidence goes there.
	Report, Folder string
	Log            *progress.Log
}

// Judge judges the requirements on one stage.
type Judge struct {
	stage   Stage
	record  *Record
	options Options

	busy      busy
	explainer explainer
	sharing   sharing
}

// New is a judge of the world on the stage, who keeps what is found out in the record.
func New(stage Stage, record *Record, o Options) *Judge {
	return &Judge{stage: stage, record: record, options: o}
}

const (
	// patience is how long a check may go on observing before a requirement counts as not holding.
	// A proxy on a busy machine takes seconds to follow a change, and a false red costs more than a late true one.
	patience = 20 * time.Second
	// attempt bounds one network attempt: longer than the first retransmission of a SYN (1 s, RFC 6298),
	// so that one lost packet on a busy machine is no failure.
	attempt = 2500 * time.Millisecond
	// checkBound bounds a whole check.
	checkBound = 2 * time.Minute
	// slowBound bounds the check of a requirement that takes minutes.
	slowBound = 10 * time.Minute
	// firstPort is the first of the requirements' own ports: below every usual ephemeral range (32768)
	// and NodePort range (30000).
	firstPort = 20000
)

// view is how a check sees the world: over a family, from a worker or, with "", from the first of them.
type view struct {
	family corev1.IPFamily
	node   string
}

// env is what a check of the requirement sees, with that much patience.
func (j *Judge) env(q requirement.Requirement, v view, patience time.Duration) *requirement.Env {
	e := j.stage.Env(q, v.family)
	e.Node = v.node
	e.User, e.Patience, e.Attempt, e.Base = j.options.User, patience, attempt, j.options.Catalogue.port(q.ID)
	e.SharedAddresses = j.sharing.sentences()
	e.Explained = func(f *requirement.Failure) bool {
		_, known := j.explainer.known.of(waysOf(f, string(e.Family)))
		return known
	}
	return e
}

// nodesOf are the workers to judge the requirement from: each, or "" for the first.
func (j *Judge) nodesOf(q requirement.Requirement) []string {
	if q.PerNode {
		return j.stage.Workers()
	}
	return []string{""}
}

// familiesOf are the families to judge the requirement in: all of the cluster's, or its first.
func (j *Judge) familiesOf(q requirement.Requirement) []corev1.IPFamily {
	families := j.stage.Families()
	if q.PerFamily {
		return families
	}
	return families[:1]
}

// busy is when the nodes were last seen too busy for what was judged.
type busy struct {
	mu sync.Mutex
	at time.Time
}

func (b *busy) note(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = at
}

// since says whether the nodes were too busy at any time since then.
func (b *busy) since(at time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.at.Before(at)
}
