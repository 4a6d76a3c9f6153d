package reports

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

// Converged is how long one kind of change took to be in force, as clients on every node saw it. It is reported; what is
// judged is only whether it came within its bound.
type Converged struct {
	// What is the change, in the field's words: "an endpoint turns ready".
	What    string            `json:"what"`
	Samples []ConvergedSample `json:"samples"`
}

// ConvergedSample is one change as a client on one node saw it.
type ConvergedSample struct {
	Node   string `json:"node"`
	Family string `json:"family,omitempty"`
	// FirstRight is from the change to the first right answer, LastWrong to the last question that got a wrong answer or
	// none; 0 where there was no such question.
	FirstRight time.Duration `json:"firstRight"`
	LastWrong  time.Duration `json:"lastWrong"`
}

// Quantiles are of a number of times, by the nearest rank: each is one that was measured.
type Quantiles struct {
	N   int
	P50 time.Duration
	P99 time.Duration
	Max time.Duration
}

// QuantilesOf summarizes times; of none it is zero.
func QuantilesOf(times []time.Duration) Quantiles {
	if len(times) == 0 {
		return Quantiles{}
	}
	s := slices.Sorted(slices.Values(times))
	rank := func(p float64) time.Duration { return s[max(0, int(math.Ceil(p*float64(len(s))))-1)] }
	return Quantiles{N: len(s), P50: rank(0.5), P99: rank(0.99), Max: s[len(s)-1]}
}

// Quantiles are those of the times to the first right and to the last wrong answer, over nodes and rounds.
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

// Converged is what was measured of all the changes in a cluster, over all requirements: by what, in the order in which
// they first come up.
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
