package requirement

import (
	"slices"
	"time"
)

// Convergence is how long one kind of change took to be in force everywhere.
type Convergence struct {
	What    string // "an endpoint turns ready"
	Samples []ConvergenceSample
}

// ConvergenceSample is one change as a client on one node saw it. Both times are from the change on.
type ConvergenceSample struct {
	Node       string
	Family     string        // "IPv4" or "IPv6", of the address that was asked
	FirstRight time.Duration // until the first right answer came
	LastWrong  time.Duration // until the last question that got a wrong answer, or none, was asked; 0: there was none
}

// RecordConvergence keeps what was measured of a change, for the report: by what, over all rounds.
func (e *Env) RecordConvergence(what string, samples ...ConvergenceSample) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.converged {
		if e.converged[i].What == what {
			e.converged[i].Samples = append(e.converged[i].Samples, samples...)
			return
		}
	}
	e.converged = append(e.converged, Convergence{What: what, Samples: slices.Clone(samples)})
}

// Convergences are what was measured so far.
func (e *Env) Convergences() []Convergence {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.converged)
}
