package suite

import (
	"time"

	"github.com/parley-k8s/parley/framework/internal/measure"
	"github.com/parley-k8s/parley/framework/requirement"
)

// measureRows is what measuring takes, for the question whether it fits go test's -timeout.
const measureRows = time.Minute

// measure measures the cluster's paths where that was asked for: after the verdicts, when nothing else runs.
func (r *Run) measure() {
	if !r.config.Measure || r.ctx.Err() != nil {
		return
	}
	field := measure.Field{Players: r.lab.cast, World: r.lab.plan, Kube: r.lab.kube, Family: r.lab.families[0],
		Port: firstPort + requirement.PortsEach*len(r.all), Say: r.progress.say}
	paths, err := field.Paths(r.ctx)
	if err != nil {
		r.progress.say("what measuring made could not all be removed: %s", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cluster().Paths = paths
}
