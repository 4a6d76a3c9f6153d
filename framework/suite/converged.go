package suite

import (
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// convergedOf turns what a check measured of changes into the report's.
func convergedOf(e *requirement.Env) []reports.Converged {
	var all []reports.Converged
	for _, c := range e.Convergences() {
		one := reports.Converged{What: c.What}
		for _, s := range c.Samples {
			one.Samples = append(one.Samples, reports.ConvergedSample(s))
		}
		all = append(all, one)
	}
	return all
}
