package suite

import (
	"sync"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// putOff are the requirements that were seen to fail, or whose proofs were, while more tasks waited than the nodes bear. That is
// the machine's doing or the cluster's: judged again alone, it is the cluster's. What was seen at first stays in the report.
type putOff struct {
	mu   sync.Mutex
	seen map[string]string // requirement ID -> at first
}

// puts says whether a result that was just found is put off; busy is whether the nodes were meanwhile. One that was put off
// before is not, and is given what was seen at first.
func (p *putOff) puts(result *reports.Result, busy bool) bool {
	if result.RetriedAlone = p.first(result.ID); result.RetriedAlone != "" {
		return false
	}
	seenToFail := result.Outcome == reports.Failed || result.Outcome == reports.Errored // an error is mostly a time that was used up
	if !busy || !seenToFail || result.Known != nil {
		return false
	}
	p.put(result.ID, result.Sentence())
	return true
}

func (p *putOff) put(id, seen string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string]string{}
	}
	p.seen[id] = seen
}

// first is what was seen at first of a requirement that was put off; "" of any other.
func (p *putOff) first(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[id]
}

// reset forgets what was put off: the next column or round judges all anew.
func (p *putOff) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = nil
}

func (p *putOff) has(q requirement.Requirement) bool { return p.first(q.ID) != "" }

// waited says why a requirement that is put off was not judged again, with what was seen at first; "" of any other.
func (p *putOff) waited(id, interrupted string) string {
	first := p.first(id)
	if first == "" {
		return ""
	}
	return "put off as the nodes were too busy, and not judged again: " + interrupted + "; seen at first: " + first
}
