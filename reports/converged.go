package reports

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

// Converged has the times until one kind of change was in force, as clients on every node saw them. The times are reported;
// only whether a change was in force within its bound is judged.
type Converged struct {
	// What is the kind of change: "an endpoint turns ready".
	What    string            `json:"what"`
	Samples []ConvergedSample `json:"samples"`
}

// ConvergedSample has the times of one change, as a client on one node saw it.
type ConvergedSample struct {
	Node   string `json:"node"`
	Family string `json:"family,omitempty"`
	// FirstRight is the time from the change to the first right answer, LastWrong to the last request with a wrong answer or
	// none; 0 where there was no such request.
	FirstRight time.Duration `json:"firstRight"`
	LastWrong  time.Duration `json:"lastWrong"`
}

// Quantiles are those of N times, by the nearest rank, so that each is a time that was measured.
type Quantiles struct {
	N   int
	P50 time.Duration
	P99 time.Duration
	Max time.Duration
}

// QuantilesOf returns the quantiles of times; the zero value of none.
func QuantilesOf(times []time.Duration) Quantiles {
	if len(times) == 0 {
		return Quantiles{}
	}
	s := slices.Sorted(slices.Values(times))
	rank := func(p float64) time.Duration { return s[max(0, int(math.Ceil(p*float64(len(s))))-1)] }
	return Quantiles{N: len(s), P50: rank(0.5), P99: rank(0.99), Max: s[len(s)-1]}
}

// Quantiles returns those of FirstRight and of LastWrong, over all samples.
func (c Converged) Quantiles() (firstRight, lastWrong Quantiles) {
	var right, wrong []time.Duration
	for _, s := range c.Samples {
		right, wrong = append(right, s.FirstRight), append(wrong, s.LastWrong)
	}
	return QuantilesOf(right), QuantilesOf(wrong)
}

type (
	convergedFields Converged
	sampleFields    ConvergedSample

	quantilesWire struct {
		N   int      `json:"n"`
		P50 duration `json:"p50"`
		P99 duration `json:"p99"`
		Max duration `json:"max"`
	}
	sampleWire struct {
		*sampleFields
		FirstRight duration `json:"firstRight"`
		LastWrong  duration `json:"lastWrong"`
	}
)

// MarshalJSON writes the quantiles and durations as text.
func (q Quantiles) MarshalJSON() ([]byte, error) {
	return encode(quantilesWire{q.N, duration(q.P50), duration(q.P99), duration(q.Max)})
}

// MarshalJSON adds the quantiles, for readers that only want those.
func (c Converged) MarshalJSON() ([]byte, error) {
	right, wrong := c.Quantiles()
	return encode(struct {
		convergedFields
		FirstRight Quantiles `json:"firstRight"`
		LastWrong  Quantiles `json:"lastWrong"`
	}{convergedFields(c), right, wrong})
}

// MarshalJSON writes durations as text.
func (s ConvergedSample) MarshalJSON() ([]byte, error) {
	return encode(sampleWire{(*sampleFields)(&s), duration(s.FirstRight), duration(s.LastWrong)})
}

// UnmarshalJSON reads durations as text.
func (s *ConvergedSample) UnmarshalJSON(b []byte) error {
	w := sampleWire{sampleFields: (*sampleFields)(s)}
	err := json.Unmarshal(b, &w)
	s.FirstRight, s.LastWrong = time.Duration(w.FirstRight), time.Duration(w.LastWrong)
	return err
}

// Converged returns the samples of all the cluster's requirements by kind of change, in the order in which the kinds first
// appear.
func (c *Cluster) Converged() []Converged {
	var all []Converged
	at := map[string]int{}
	for i := range c.Results {
		for _, one := range c.Results[i].Converged {
			k, ok := at[one.What]
			if !ok {
				k = len(all)
				at[one.What] = k
				all = append(all, Converged{What: one.What})
			}
			all[k].Samples = append(all[k].Samples, one.Samples...)
		}
	}
	return all
}

// converged is a table of them.
func (s *summaryWriter) converged(c *Cluster) {
	all := c.Converged()
	if len(all) == 0 {
		return
	}
	s.title(s.bold, "CONVERGENCE measured: from the change to the first right and to the last wrong answer, over nodes and rounds")
	rows := [][]string{{"", "first right p50", "p99", "max", "last wrong p50", "p99", "max", "samples"}}
	for _, one := range all {
		right, wrong := one.Quantiles()
		rows = append(rows, []string{oneLine(one.What), threeDigits(right.P50), threeDigits(right.P99), threeDigits(right.Max),
			threeDigits(wrong.P50), threeDigits(wrong.P99), threeDigits(wrong.Max), strconv.Itoa(right.N)})
	}
	s.aligned(rows)
}
