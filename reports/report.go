package reports

import (
	"slices"
	"time"
)

// APIVersion and Kind are in every file of a Report, as in a Kubernetes object. The version changes when an old reader
// would misread the new form, and not when fields are added.
const (
	APIVersion = "parley.dev/v1"
	Kind       = "ConformanceReport"
)

// Outcome is the outcome of one requirement.
type Outcome string

// The five outcomes. Only Passed ever reads as passed.
const (
	// Passed: what must hold was seen to hold.
	Passed Outcome = "passed"
	// Failed: it was seen not to hold.
	Failed Outcome = "failed"
	// Skipped: not run, by the user's choice.
	Skipped Outcome = "skipped"
	// Unsupported: the cluster lacks what the requirement rests on; the reason says what was probed.
	Unsupported Outcome = "unsupported"
	// Errored: could not be judged, for example because a fixture did not start or a right is missing.
	Errored Outcome = "error"
)

// The levels of a requirement, in the words of RFC 2119.
const (
	Must     = "MUST"
	Should   = "SHOULD"
	Optional = "OPTIONAL"
)

// ProofState is the outcome of a requirement's proof by its negative control.
type ProofState string

// The states of a proof.
const (
	// Proved: under the control the requirement went red for the expected reason, and green again without it.
	Proved ProofState = "proved"
	// Unproved: no injection point acted on this cluster; the reason says which were tried.
	Unproved ProofState = "unproved"
	// Refuted: the control acted and the requirement stayed green, or went red for another reason.
	Refuted ProofState = "refuted"
	// ProofNotRun: the proof was asked for but not begun; the reason says why.
	ProofNotRun ProofState = "not run"
)

// Report is the result of one run.
type Report struct {
	// APIVersion and Kind are the constants of the same names.
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Run is the run's ID, which is also in the name of all that the run made.
	Run string `json:"run"`
	// Host is the machine that the run was started on; "" where it isn't known.
	Host string `json:"host,omitempty"`
	// Started and Ended are the wall-clock bounds of the whole run, its setup and cleanup included.
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Interrupted says in a sentence why the run ended before all was judged; "" when it went to its end.
	Interrupted string `json:"interrupted,omitempty"`
	// Clusters are the clusters that were judged, in the order in which the run chose them.
	Clusters []Cluster `json:"clusters,omitempty"`
	// NotRun are the clusters of a matrix that this host can't make and that were not asked for by name.
	NotRun []NotRun `json:"notRun,omitempty"`
	// Notices are sentences on the run itself that a person should act on: a known difference that has expired.
	Notices []string `json:"notices,omitempty"`
}

// NotRun is a cluster that was not made, and why.
type NotRun struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// New returns the empty report of a run.
func New(run string, started time.Time) *Report {
	return &Report{APIVersion: APIVersion, Kind: Kind, Run: run, Started: started}
}

// Cluster has the facts and results of one cluster.
type Cluster struct {
	Name string `json:"name"`
	// Values are the values of the matrix's axes that the cluster was made with: "nftables", "dual".
	Values []string `json:"values,omitempty"`
	// Interrupted says why this cluster of several was not judged to the end; "" when it was.
	Interrupted string `json:"interrupted,omitempty"`
	// Facts describe the cluster: Kubernetes version, runtime, CNI, proxy mode, families, nodes.
	Facts []Fact `json:"facts,omitempty"`
	// Nodes are the nodes that were not judged like the others, and why.
	Nodes []NodeFinding `json:"nodes,omitempty"`
	// Results are in the order in which the writers show them. The results of a chapter need not follow each other.
	Results []Result `json:"results,omitempty"`
	// Paths are the latency and throughput of the cluster's network paths, where they were measured.
	Paths []Path `json:"paths,omitempty"`
	// Changes are what was another way at the end of the run than at its beginning: nodes, restarts of system pods, addresses.
	Changes []Change `json:"changes,omitempty"`
}

// Fact is one property of a cluster.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Result is the verdict on one requirement in one cluster.
type Result struct {
	// ID is stable and names its chapter: "pod/no-nat-cross-node".
	ID      string `json:"id"`
	Title   string `json:"title,omitempty"`
	Chapter string `json:"chapter"`
	// Level is Must, Should or Optional.
	Level   string  `json:"level"`
	Clause  Clause  `json:"clause,omitzero"`
	Outcome Outcome `json:"outcome"`
	// Reason is the sentence that says why it failed, was skipped, is unsupported or could not be judged; of one that passed, over which
	// family or on which node it was not judged.
	Reason string `json:"reason,omitempty"`
	// Failure is the observation behind a failed requirement; nil otherwise, or where there is only a reason.
	Failure *Failure `json:"failure,omitempty"`
	// Warning marks a failure that is shown but leaves the exit code alone: see MarkWarnings.
	Warning bool `json:"warning,omitempty"`
	// NotAsked marks a requirement that was skipped because it does not depend on what distinguishes this column (an OCI
	// handler) from the other columns of the same cluster. A comparison does not count it as a difference.
	NotAsked bool `json:"notAsked,omitempty"`
	// Known is the known difference that accepts this outcome: it is shown, and the exit code does not count it.
	Known *Known `json:"known,omitempty"`
	// Lapsed is a known difference of this outcome that has expired: it explains the outcome, and the exit code counts it.
	Lapsed *Known `json:"lapsed,omitempty"`
	// Started and Took are of the check alone, not of its proof.
	Started time.Time     `json:"started,omitzero"`
	Took    time.Duration `json:"took,omitzero"`
	// Verdicts are the outcomes per address family, where the requirement is judged per family.
	Verdicts []Verdict `json:"verdicts,omitempty"`
	// ByNode are the outcomes on each node, over each family, where the requirement is judged per node.
	ByNode []NodeVerdict `json:"byNode,omitempty"`
	// Rounds says how many rounds ended how, where the cluster was judged in several (go test -count): the outcome is then
	// the worst. A requirement with more than one outcome is either flaky itself or shows a flaky cluster.
	Rounds map[Outcome]int `json:"rounds,omitempty"`
	// Proof is nil where no proof was asked for.
	Proof *Proof `json:"proof,omitempty"`
	// PutOff is the sentence of the first failure of a requirement that was judged again when all else was done, since
	// the nodes were too busy the first time. The result is of the second time. "" where it was judged once.
	PutOff string `json:"putOff,omitempty"`
	// HeldLate is what held only on a later attempt than the first, over all rounds: a change that was still becoming known, a machine
	// that was busy, or a path that works now and then.
	HeldLate []LateHold `json:"heldLate,omitempty"`
	// Notes are sentences on observations that are reported and not judged.
	Notes []string `json:"notes,omitempty"`
	// Converged are the times until changes were in force on every node.
	Converged []Converged `json:"converged,omitempty"`
}

// LateHold is one thing that held on a later attempt.
type LateHold struct {
	// Attempts is 2 or more.
	Attempts int `json:"attempts"`
	// Took is the time from the first attempt to the one that held.
	Took time.Duration `json:"took"`
	// First is what the first attempt saw.
	First string `json:"first"`
	// Steady says that the check had made and changed nothing by then.
	Steady bool `json:"steady,omitempty"`
}

// Clause is the place in a specification that demands what the requirement checks.
type Clause struct {
	URL string `json:"url,omitempty"`
	// Text is what the clause says, in Parley's words.
	Text string `json:"text,omitempty"`
}

// Verdict is the outcome of a requirement over one address family.
type Verdict struct {
	// Family is "IPv4" or "IPv6".
	Family  string  `json:"family"`
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"`
}

// NodeVerdict is the outcome of a requirement on one node, over one address family.
type NodeVerdict struct {
	Node string `json:"node"`
	// Family is "IPv4" or "IPv6".
	Family  string  `json:"family"`
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"`
}

// Proof is how a requirement was shown to be able to fail.
type Proof struct {
	State ProofState `json:"state"`
	// How is the control: "variant: two pods", "fault: drop udp on lo".
	How string `json:"how,omitempty"`
	// Point is the injection point that acted: fixture, agent, pod netns, veth or node.
	Point string `json:"point,omitempty"`
	// Red is the sentence that the requirement went red with.
	Red string `json:"red,omitempty"`
	// Reason says why the state is not Proved.
	Reason string `json:"reason,omitempty"`
	// Took is the time of the whole proof: green, control, red, lifted, green.
	Took time.Duration `json:"took,omitzero"`
	// Parts are the proofs by each control of a requirement that has several, in their order. The whole is proved where all are; its
	// How, Point, Red and Reason are those of the first part that has its State.
	Parts []Proof `json:"parts,omitempty"`
}

// ProofOfAll is the proof that has these parts, at least one.
func ProofOfAll(parts []Proof) *Proof {
	for _, state := range []ProofState{Refuted, Unproved, ProofNotRun, Proved} {
		if i := slices.IndexFunc(parts, func(p Proof) bool { return p.State == state }); i >= 0 {
			whole := parts[i]
			whole.Took, whole.Parts = 0, parts
			for _, p := range parts {
				whole.Took += p.Took
			}
			return &whole
		}
	}
	return &Proof{State: ProofNotRun}
}
