package upstream

import (
	"fmt"
	"time"

	"github.com/parley-k8s/parley/framework/cmd/parley/internal/upstream/ginkgo"
	"github.com/parley-k8s/parley/reports"
)

// Comparison is what both suites told of one cluster, round by round. It is plain data.
type Comparison struct {
	Started    time.Time `json:"started"`
	Kubernetes string    `json:"kubernetes"` // of e2e.test
	Cluster    string    `json:"cluster"`    // what the cluster is, in one line
	// StandIns are the images that were put together in place of upstream's.
	StandIns []string `json:"standIns"`
	Rounds   []Round  `json:"rounds"`
}

// Round is one state of the cluster's network, and what both suites said of it.
type Round struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Where    string `json:"where,omitempty"` // the nodes that had the fault
	Upstream Side   `json:"upstream"`
	Parley   Side   `json:"parley"`
}

// Side is one suite in one round.
type Side struct {
	// Wall is from the program's start to its end, its setup and cleanup included.
	Wall   Seconds `json:"wallSeconds"`
	Judged int     `json:"judged"` // promises: red and green
	Reds   []Red   `json:"reds,omitempty"`
	// Unjudged are those that could not be judged, with why.
	Unjudged []Red `json:"unjudged,omitempty"`
	// NotAsked is how many were unsupported here or left out by choice.
	NotAsked int `json:"notAsked,omitempty"`
	// Acted is how often the fault met a packet meanwhile (the masquerade: a connection).
	Acted uint64 `json:"faultActed"`
	// Ended says why the suite told nothing, or not all; "" where it went to its end.
	Ended string `json:"ended,omitempty"`
}

// Red is one promise that was seen broken.
type Red struct {
	Name    string  `json:"name"`
	Message string  `json:"message"` // its first line
	Bytes   int     `json:"bytes"`   // of the whole message
	Took    Seconds `json:"tookSeconds"`
	// Warning is a promise below MUST.
	Warning bool `json:"warning,omitempty"`
	// Before says that it was red in the healthy round too: the fault is not what it tells of.
	Before bool `json:"redWhenHealthy,omitempty"`
}

// Seconds is a time as a number of seconds.
type Seconds float64

// specsSide is what upstream told.
func specsSide(specs []ginkgo.Spec) Side {
	var side Side
	for _, s := range specs {
		red := Red{Name: s.Name, Message: s.First, Bytes: s.Bytes, Took: Seconds(s.Took.Seconds())}
		switch {
		case s.Passed:
			side.Judged++
		case s.NoImage != "":
			red.Message = fmt.Sprintf("its image %s is not to be had", s.NoImage)
			side.Unjudged = append(side.Unjudged, red)
		default:
			side.Judged++
			side.Reds = append(side.Reds, red)
		}
	}
	return side
}

// reportSide is what Parley told.
func reportSide(r *reports.Report) Side {
	side := Side{Ended: r.Interrupted}
	for _, c := range r.Clusters {
		for _, res := range c.Results {
			one := Red{Name: res.ID, Message: res.Sentence(), Bytes: len(res.Block()), Took: Seconds(res.Took.Seconds()), Warning: res.Level != reports.Must}
			switch res.Outcome {
			case reports.Passed:
				side.Judged++
			case reports.Failed:
				side.Judged++
				side.Reds = append(side.Reds, one)
			case reports.Errored:
				side.Unjudged = append(side.Unjudged, one)
			default:
				side.NotAsked++
			}
		}
	}
	return side
}

// compare marks what was red before any fault. The healthy round is the first of its name; without one nothing is
// marked.
func (c *Comparison) compare() {
	healthy := -1
	for i, r := range c.Rounds {
		if r.Name == Healthy.Name {
			healthy = i
			break
		}
	}
	if healthy < 0 {
		return
	}
	before := c.Rounds[healthy]
	for i := range c.Rounds {
		if i != healthy {
			markBefore(c.Rounds[i].Upstream.Reds, before.Upstream.Reds)
			markBefore(c.Rounds[i].Parley.Reds, before.Parley.Reds)
		}
	}
}

func markBefore(reds, before []Red) {
	was := map[string]bool{}
	for _, r := range before {
		was[r.Name] = true
	}
	for i := range reds {
		reds[i].Before = was[reds[i].Name]
	}
}

// NewReds is how many reds tell of the round's fault: those that were green when healthy.
func (s Side) NewReds() int {
	n := 0
	for _, r := range s.Reds {
		if !r.Before {
			n++
		}
	}
	return n
}
