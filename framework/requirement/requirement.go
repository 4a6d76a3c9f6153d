package requirement

import (
	"context"
	"strings"

	"github.com/parley-k8s/parley/fixtures/world"
)

// Level says how binding a requirement is, in the sense of RFC 2119.
type Level string

const (
	Must     Level = "MUST"     // an API field, the network model or a conformance test says so
	Should   Level = "SHOULD"   // documented or universal behaviour; a failure is a warning unless strict
	Optional Level = "OPTIONAL" // judged only where the cluster shows the feature
)

// Clause is where a requirement comes from.
type Clause struct {
	URL  string // the document
	Says string // what it says, in our words
}

// Feature is something of a cluster that a requirement needs; without it the row is unsupported.
type Feature string

const (
	TwoNodes    Feature = "two-nodes"  // two nodes that take ordinary pods
	NodeAgent   Feature = "node-agent" // pods in the node's own namespaces are admitted
	OutsideHost Feature = "outside"    // a host beside the cluster that reaches the nodes' addresses
	// LoadBalanced is that somebody gives Services of type LoadBalancer an address.
	LoadBalanced Feature = "load-balancer"
)

// Requirement is one promise of the catalogue. Its ID never changes its meaning.
type Requirement struct {
	ID     string // "chapter/name"
	Title  string // the sentence: what must hold
	Level  Level
	Clause Clause
	Why    string // for a person who wants to understand: what rests on it, and what usually breaks it
	Needs  []Feature
	// PodSecurity is the Pod Security level of the pods it looks at; empty is restricted.
	PodSecurity string
	// Roles must all be played, or the row is unsupported. Wants are looked at where they are played;
	// where not, the check says in a note which half was not judged.
	Roles    []world.Role
	Wants    []world.Role
	Services []world.Service
	// PerNode has the check run once for each node that takes ordinary pods, with Env.Node set and the roles seen from there: the
	// siblings, and who is near, on that node, who is far on the next. It is for what a kubelet, a runtime or a node's own network
	// does for the node's pods.
	PerNode bool
	// OneNode says why one node is enough, of a requirement that is not judged per node, and whose roles are not on every node.
	OneNode string
	// PerFamily has the check run once for each address family of the cluster, with Env.Family set.
	PerFamily bool
	// Long checks start pods of their own or wait for a kubelet's periods, ten seconds and more: they have turns of
	// their own, so that the short ones need not wait for them.
	Long bool
	// Slow requirements take minutes and are left out unless asked for.
	Slow bool
	// AtEnd has the check run once more when all else is judged, since what holds at the beginning of a run may not at its end. The
	// graver of the two outcomes counts.
	AtEnd bool
	// Disrupts says what the check does to others' things; empty is nothing. Such a requirement is judged only where
	// faults may be injected, after all others and by itself.
	Disrupts string
	// ClusterScoped says what the check makes outside the run's own namespaces, such as "a ValidatingWebhookConfiguration"; empty is
	// nothing. On a cluster of the user's that is done only where faults may be injected.
	ClusterScoped string
	// Check judges. nil: it holds. *Failure: it does not. *Unsupported: the cluster does not show the
	// feature. Any other error: it could not be judged.
	Check func(context.Context, *Env) error
	// Control is the change that must turn it red. Where it promises several things, each of which can break by itself, there is one
	// more for each that Control does not touch in MoreControls: a proof is by all, one after the other.
	Control      Control
	MoreControls []Control
}

// Controls are Control and MoreControls.
func (r Requirement) Controls() []Control { return append([]Control{r.Control}, r.MoreControls...) }

// Chapter is the first part of the ID.
func (r Requirement) Chapter() string {
	chapter, _, _ := strings.Cut(r.ID, "/")
	return chapter
}

// ObjectName is the ID in the form that names of objects take.
func (r Requirement) ObjectName() string { return strings.ReplaceAll(r.ID, "/", "-") }

// Control is the smallest change that must turn the requirement red. Exactly one of Variant and
// Fault is set.
type Control struct {
	Says    string // in a few words
	Variant *Variant
	Fault   *Fault
	// Red are the reasons that the check must fail for; failing for any other refutes the proof.
	Red []Reason
	// Wants are roles of the requirement's Wants that the control is about, for one of MoreControls: where nobody plays one of them
	// the check does not judge that part, and the control is left out of the proof.
	Wants []world.Role
	// Alone controls touch what other requirements rest on, so nothing else runs beside them.
	Alone bool
}

// Kind is "variant" or "fault".
func (c Control) Kind() string {
	if c.Fault != nil {
		return "fault"
	}
	return "variant"
}

// Variant is the same check against another fixture.
type Variant struct {
	// Roles and Services are played by others: the key's part goes to what plays the value.
	Roles    map[world.Role]world.Role
	Services map[world.Service]world.Service
	// Fixture names the other form of a fixture that the check makes itself: it asks Env.Fixture for it.
	Fixture string
	// ClusterScoped says what Make makes outside the run's own namespaces, as of a requirement.
	ClusterScoped string
	// Make prepares what no shared fixture can be (a forged Node) and returns how to undo it, or is nil.
	Make func(context.Context, *Env) (undo func(context.Context) error, err error)
	// Given says whether the variant is on this cluster what it is called, with an error where it is not: a runtime may give a
	// pod less than it asks for. It is asked where the check stays green, which refutes nothing then; nil is always.
	Given func(context.Context, *Env) error
}

// Fault is something injected live and lifted. Points are tried in order until one is seen to act.
type Fault struct {
	Points []Point
}

// Point is one place where a fault can be injected.
type Point struct {
	Where  string // fixture, agent, pod netns, veth, node
	Inject func(context.Context, *Env) (Injected, error)
}

// Injected is a fault in force.
type Injected interface {
	// Acted says whether the fault has met any of the check's traffic, and how that was seen.
	Acted(context.Context) (bool, string, error)
	// Lift undoes it. It is safe to call twice.
	Lift(context.Context) error
}
