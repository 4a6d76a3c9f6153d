package suite

import (
	"sync"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// putOff are the requirements that were seen to fail while more tasks waited than the nodes bear. That is the machine's doing
// or the cluster's: judged again alone, it is the cluster's. What was seen at first stays in the report.
type putOff struct {
	mu   sync.Mutex
	seen map[string]string // requirement ID -> at first
}

// puts says whether a result that was just found is put off; busy is whether the nodes were meanwhile. One that was put off
// before is not, and is given a note of why it is judged again.
func (p *putOff) puts(result *reports.Result, busy bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if first, again := p.seen[result.ID]; again {
		result.Notes = append(result.Notes, "judged again alone: the nodes were too busy at first, when it was seen to fail: "+first)
		return false
	}
	if !busy || result.Outcome != reports.Failed || result.Known != nil {
		return false
	}
	if p.seen == nil {
		p.seen = map[string]string{}
	}
	p.seen[result.ID] = result.Sentence()
	return true
}

func (p *putOff) has(q requirement.Requirement) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.seen[q.ID]
	return ok
}
