package reports

import (
	"slices"
	"time"
)

// NodeFinding is why a node was not judged like the others.
type NodeFinding struct {
	Node string `json:"node"`
	// State is "not ready", "cordoned", "tainted", "other platform", "shares address", "renews no Lease", "starts no pod", "lacks pods"
	// or "answers no exec".
	State string `json:"state"`
	// Said is what was tried, and what the API server said.
	Said string `json:"said,omitempty"`
	// Since is the time of the condition's last transition, of the Lease's last renewal or of the taint.
	Since time.Time `json:"since,omitzero"`
	// Sick says that something is wrong with the node. It is false where its owner keeps ordinary pods away.
	Sick bool `json:"sick,omitempty"`
	// LeftOut says that at least some of the requirements that speak of every node were judged without it.
	LeftOut bool `json:"leftOut,omitempty"`
	// Instead says how it was judged all the same.
	Instead string `json:"instead,omitempty"`
}

// Sentence is the finding in one line.
func (f NodeFinding) Sentence() string {
	s := f.Node + ": " + f.State
	if !f.Since.IsZero() {
		s += " since " + f.Since.UTC().Format(time.RFC3339)
	}
	if f.Said != "" {
		s += ": " + f.Said
	}
	switch {
	case f.Instead != "":
		s += "; " + f.Instead
	case f.LeftOut:
		s += "; judged without it"
	}
	return oneLine(s)
}

// nodeRow is the requirement that is red for a node on which the run could not look: no exec runs there. Where it was judged, its
// outcome counts; where not, what was judged on the nodes that were left says nothing of this one.
const nodeRow = "node/api-to-kubelet-exec"

// unjudgedNode says that a sick node was left out, and no failure of a requirement tells so.
func (c *Cluster) unjudgedNode() bool {
	if !slices.ContainsFunc(c.Nodes, func(f NodeFinding) bool { return f.Sick && f.LeftOut }) {
		return false
	}
	return !slices.ContainsFunc(c.Results, func(r Result) bool { return r.ID == nodeRow && r.Outcome == Failed })
}

// notJudgedOn says on which nodes the run could not judge, where that decides its exit code.
func (c *Cluster) notJudgedOn() (lines []string) {
	if !c.unjudgedNode() {
		return nil
	}
	for _, f := range c.Nodes {
		if f.Sick && f.LeftOut {
			lines = append(lines, "NOT JUDGED ON "+f.Sentence())
		}
	}
	return lines
}

// nodes are a line for each node that was not judged like the others, sick ones in red.
func (s *summaryWriter) nodes(c *Cluster) {
	for _, sick := range []bool{true, false} {
		var lines []string
		for _, f := range c.Nodes {
			if f.Sick == sick {
				lines = append(lines, f.Sentence())
			}
		}
		if sick {
			s.list(sickNodes, s.red, lines)
		} else {
			s.list(keptNodes, s.yellow, lines)
		}
	}
	if len(c.Nodes) > 0 {
		s.b.WriteByte('\n')
	}
}

// nodesText are the nodes of the columns that were not judged like the others, a line each; the sick first.
func (c *Comparison) nodesText() (sick, kept []string) {
	for _, col := range c.Columns {
		for _, f := range col.Nodes {
			if line := oneLine(col.Name) + ": " + f.Sentence(); f.Sick {
				sick = append(sick, line)
			} else {
				kept = append(kept, line)
			}
		}
	}
	return sick, kept
}

const (
	sickNodes = "SICK NODES"
	keptNodes = "NODES THAT TAKE NO ORDINARY PODS"
)
