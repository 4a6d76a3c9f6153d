package judge

import (
	"cmp"
	"sync"
	"time"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// Record is what has been found out on one column so far. It may be used by several goroutines.
type Record struct {
	mu      sync.Mutex
	cluster reports.Cluster
	retries putOff
}

// NewRecord is the record of a column about which nothing is known but its name and its values.
func NewRecord(name string, values []string) *Record {
	return &Record{cluster: reports.Cluster{Name: name, Values: values}}
}

// Change has something noted besides results.
func (r *Record) Change(note func(*reports.Cluster)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	note(&r.cluster)
}

// keep puts a result into the record, in place of an earlier one of the requirement.
func (r *Record) keep(result reports.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.cluster.Results {
		if r.cluster.Results[i].ID == result.ID {
			r.cluster.Results[i] = result
			return
		}
	}
	r.cluster.Results = append(r.cluster.Results, result)
}

// earlier is the result that was kept of the requirement before.
func (r *Record) earlier(id string) (reports.Result, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, result := range r.cluster.Results {
		if result.ID == id {
			return result, true
		}
	}
	return reports.Result{}, false
}

// markKnown marks a result that is a known difference.
func (r *Record) markKnown(result *reports.Result, known []reports.Known) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result.MarkKnown(known, &r.cluster, time.Now())
}

// Judged says whether anything was judged.
func (r *Record) Judged() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.cluster.Results) > 0
}

// Complete is the record with its results in the order of the catalogue and a row for everything that was not judged, with the
// reason: interrupted is why the run was cut short, "" where it was not.
func (r *Record) Complete(c Catalogue, interrupted string) reports.Cluster {
	r.mu.Lock()
	defer r.mu.Unlock()
	judged := map[string]reports.Result{}
	for _, result := range r.cluster.Results {
		judged[result.ID] = result
	}
	complete := r.cluster
	complete.Results = nil
	for _, q := range c.All {
		result, ok := judged[q.ID]
		if !ok {
			result = r.notJudged(c, q, interrupted)
		}
		complete.Results = append(complete.Results, result)
	}
	return complete
}

// notJudged is the row of a requirement that was not judged.
func (r *Record) notJudged(c Catalogue, q requirement.Requirement, interrupted string) reports.Result {
	result := blank(q)
	result.Outcome, result.Reason = reports.Skipped, c.LeftOut[q.ID]
	switch {
	case result.Reason != "":
		result.NotAsked = c.Chosen[q.ID] == ""
	case interrupted != "":
		result.Outcome, result.Reason = reports.Errored, cmp.Or(r.retries.notJudgedAgain(q.ID, interrupted), "not reached: "+interrupted)
	default:
		result.Reason = "left out by go test's -run or by e2e-framework's -feature or -labels"
	}
	return result
}
