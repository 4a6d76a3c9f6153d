package reports

import (
	"slices"
	"time"
)

// Exit codes of a run.
const (
	ExitPassed   = 0
	ExitFailed   = 1
	ExitUnjudged = 2
)

// ExitCode is the exit code of a run with this report.
//
// ExitFailed: a MUST failed, or with strict a SHOULD or an OPTIONAL, or a proof was refuted. ExitUnjudged: something
// could not be judged, the run or one of its clusters was interrupted, a sick node was left out and no failure tells so, or nothing at
// all was judged. ExitPassed: none of
// these; every selected MUST that the cluster supports passed. A failure that is a known difference counts as judged
// and no more. ExitFailed goes before ExitUnjudged: a failure that was seen
// holds whatever else could not be judged.
func (r *Report) ExitCode(strict bool) int {
	judged, unjudged := false, r.Interrupted != ""
	for _, c := range r.Clusters {
		unjudged = unjudged || c.Interrupted != "" || c.unjudgedNode()
		for i := range c.Results {
			res := &c.Results[i]
			if res.refuted() || res.Fails(strict) {
				return ExitFailed
			}
			switch res.Outcome {
			case Passed, Failed:
				judged = true
			case Skipped, Unsupported:
			default:
				unjudged = true
			}
		}
	}
	if unjudged || !judged {
		return ExitUnjudged
	}
	return ExitPassed
}

// MarkWarnings sets each result's Warning: a failure below MUST, unless strict, or one that is a known difference. Call it before a
// writer, so that what is shown and the exit code agree.
func (r *Report) MarkWarnings(strict bool) {
	for _, c := range r.Clusters {
		for i := range c.Results {
			res := &c.Results[i]
			res.Warning = res.Outcome == Failed && !res.Fails(strict)
		}
	}
}

// Fails says whether the result fails the run: a failure that is neither a known difference nor, unless the run is
// strict, below MUST.
func (r *Result) Fails(strict bool) bool {
	return r.Outcome == Failed && r.Known == nil && (strict || !r.lenient())
}

// lenient says that a failure is a warning unless the run is strict. An unknown level is not lenient.
func (r *Result) lenient() bool { return r.Level == Should || r.Level == Optional }

// unjudged says that the requirement could not be judged. An unknown outcome counts as that.
func (r *Result) unjudged() bool {
	return !slices.Contains([]Outcome{Passed, Failed, Skipped, Unsupported}, r.Outcome)
}

func (r *Result) refuted() bool { return r.Proof != nil && r.Proof.State == Refuted }

// Sentence says in one line why the requirement did not pass; "" for one that did.
func (r *Result) Sentence() string {
	switch {
	case r.Outcome == Passed:
		return ""
	case r.Reason != "":
		return oneLine(r.Reason)
	case r.Outcome == Failed && r.Failure != nil:
		return r.Failure.Sentence()
	}
	return "no reason was recorded"
}

// nodes are the nodes that the requirement was judged on, where it is judged on each.
func (r *Result) nodes() (nodes []string) {
	for _, v := range r.ByNode {
		if !slices.Contains(nodes, v.Node) {
			nodes = append(nodes, v.Node)
		}
	}
	return nodes
}

// Block is the failure as lines of text: the Failure's own block, or the reason where there is none.
func (r *Result) Block() string {
	f := Failure{Requirement: r.ID, Observed: r.Reason, Took: r.Took}
	if r.Failure != nil {
		f = *r.Failure
		if f.Requirement == "" {
			f.Requirement = r.ID
		}
	}
	return f.Block()
}

// Counts are how many results there are of each kind. The results of a run are Passed + Failed + Warnings + Skipped
// + Unsupported + Errors.
type Counts struct {
	Passed int `json:"passed"`
	// Failed leaves out the failures that are only warnings.
	Failed      int `json:"failed"`
	Warnings    int `json:"warnings"`
	Skipped     int `json:"skipped"`
	Unsupported int `json:"unsupported"`
	Errors      int `json:"errors"`
}

// Asked is how many results the user did not skip.
func (c Counts) Asked() int { return c.Passed + c.Failed + c.Warnings + c.Unsupported + c.Errors }

func (c *Counts) add(r *Result) {
	switch r.Outcome {
	case Passed:
		c.Passed++
	case Failed:
		if r.Warning {
			c.Warnings++
		} else {
			c.Failed++
		}
	case Skipped:
		c.Skipped++
	case Unsupported:
		c.Unsupported++
	default:
		c.Errors++
	}
}

// ProofCounts count the proofs that were asked for, by their state. Proofs of results that were skipped or are unsupported
// are not counted.
type ProofCounts struct {
	Asked    int `json:"asked"`
	Proved   int `json:"proved"`
	Unproved int `json:"unproved"`
	Refuted  int `json:"refuted"`
	NotRun   int `json:"notRun"`
}

func (p *ProofCounts) add(r *Result) {
	if r.Proof == nil || r.Outcome == Skipped || r.Outcome == Unsupported {
		return
	}
	p.Asked++
	switch r.Proof.State {
	case Proved:
		p.Proved++
	case Unproved:
		p.Unproved++
	case Refuted:
		p.Refuted++
	default:
		p.NotRun++
	}
}

// ChapterSummary counts the results of one chapter in one cluster.
type ChapterSummary struct {
	Cluster string `json:"cluster"`
	Chapter string `json:"chapter"`
	Counts
}

// Summary counts a report's results.
type Summary struct {
	Counts
	Proofs ProofCounts `json:"proofs"`
	// Chapters are in the order in which they first appear, cluster by cluster.
	Chapters []ChapterSummary `json:"chapters,omitempty"`
}

// Summary counts the results. It is also in the JSON and YAML forms, for readers that only want the numbers.
func (r *Report) Summary() Summary {
	var s Summary
	for i := range r.Clusters {
		c := &r.Clusters[i]
		s.Chapters = append(s.Chapters, c.summaries()...)
		for k := range c.Results {
			s.add(&c.Results[k])
			s.Proofs.add(&c.Results[k])
		}
	}
	return s
}

func (c *Cluster) summaries() []ChapterSummary {
	var list []ChapterSummary
	for _, ch := range c.chapters() {
		cs := ChapterSummary{Cluster: c.Name, Chapter: ch.name}
		for _, res := range ch.results {
			cs.add(res)
		}
		list = append(list, cs)
	}
	return list
}

// took is the wall time of the run; 0 where a bound is missing.
func (r *Report) took() time.Duration {
	if r.Started.IsZero() || r.Ended.Before(r.Started) {
		return 0
	}
	return r.Ended.Sub(r.Started)
}

// chapter is the results of one chapter of a cluster, in their order.
type chapter struct {
	name    string
	results []*Result
}

func (c *Cluster) chapters() []chapter {
	var list []chapter
	at := map[string]int{}
	for i := range c.Results {
		res := &c.Results[i]
		k, ok := at[res.Chapter]
		if !ok {
			k = len(list)
			at[res.Chapter] = k
			list = append(list, chapter{name: res.Chapter})
		}
		list[k].results = append(list[k].results, res)
	}
	return list
}
