package requirement

import (
	"slices"
	"time"
)

// What can keep a node from being judged like the others.
const (
	NodeNotReady      = "not ready"       // its condition Ready is not True
	NodeCordoned      = "cordoned"        // spec.unschedulable
	NodeTainted       = "tainted"         // a taint keeps ordinary pods away
	NodeOtherPlatform = "other platform"  // of an operating system or architecture that the agent is not built for
	NodeSharesAddress = "shares address"  // another node has its InternalIP too
	NodeRenewsNoLease = "renews no Lease" // its kubelet has missed renewals that others' made
	NodeStartsNoPod   = "starts no pod"   // while other nodes' pods became ready, none of its pods did
	NodeLacksPods     = "lacks pods"      // some of the world's pods did not start on it
	NodeAnswersNoExec = "answers no exec" // an exec through the API server brought nothing
)

// NodeFinding is why a node is not judged like the others.
type NodeFinding struct {
	Node  string
	State string // one of the constants above
	// Said is what was tried, and what the API server said.
	Said  string
	Since time.Time // zero where nobody tells
	// Sick says that something is wrong with the node. It is false where its owner keeps ordinary pods away.
	Sick bool
	// LeftOut says that at least some of the rows that speak of every node were judged without it.
	LeftOut bool
	// Instead says how it was judged all the same; "" where it was not.
	Instead string
}

// String is the finding in one sentence.
func (f NodeFinding) String() string {
	s := f.Node + " " + f.verb()
	if !f.Since.IsZero() {
		s += " since " + f.Since.UTC().Format(time.RFC3339)
	}
	if f.Said != "" {
		s += ": " + f.Said
	}
	return s
}

// verb makes a predicate of the state.
func (f NodeFinding) verb() string {
	if slices.Contains([]string{NodeNotReady, NodeCordoned, NodeTainted}, f.State) {
		return "is " + f.State
	}
	if f.State == NodeOtherPlatform {
		return "has another platform"
	}
	if f.State == NodeSharesAddress {
		return "shares its InternalIP"
	}
	return f.State
}

// SickNodes are the findings about nodes that something is wrong with, of the states given or of all.
func (e *Env) SickNodes(states ...string) (sick []NodeFinding) {
	if e.Players == nil {
		return nil
	}
	for _, f := range e.Players.NodeFindings() {
		if f.Sick && (len(states) == 0 || slices.Contains(states, f.State)) {
			sick = append(sick, f)
		}
	}
	return sick
}
