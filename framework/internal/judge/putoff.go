package judge

import (
	"sync"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// putOff are the requirements that were seen to fail, or whose proofs were, while more tasks waited than the nodes bear. That is
// the machine's doing or the cluster's: judged again when all else is done, it is the cluster's. What was seen at first stays in the report.
type putOff struct {
	mu   sync.Mutex
	seen map[string]string // requirement ID -> at first
}

// retriable says whether a result may be the doing of nodes that are too busy, and was not judged again already: a failure, or an
// error, which is mostly a time that was used up. A known difference is not: nobody waits for its verdict. What is final is not: nodes
// that are busy answer late, and nothing else.
func retriable(result reports.Result) bool {
	seenToFail := result.Outcome == reports.Failed || result.Outcome == reports.Errored
	final := result.Outcome == reports.Failed && result.Failure != nil && result.Failure.Final != ""
	return seenToFail && !final && result.Known == nil && result.PutOff == ""
}

func (r *putOff) add(id, seen string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[string]string{}
	}
	r.seen[id] = seen
}

// first is what was seen at first of a requirement that is tried again; "" of any other.
func (r *putOff) first(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[id]
}

// forget begins anew: the next round judges all again.
func (r *putOff) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = nil
}

func (r *putOff) has(q requirement.Requirement) bool { return r.first(q.ID) != "" }

// notJudgedAgain says why a requirement that was to be tried again was not, with what was seen at first; "" of any other.
func (r *putOff) notJudgedAgain(id, interrupted string) string {
	first := r.first(id)
	if first == "" {
		return ""
	}
	return "put off as the nodes were too busy, and not judged again: " + interrupted + "; seen at first: " + first
}
