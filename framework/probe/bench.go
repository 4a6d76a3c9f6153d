package probe

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// Bench measures the latency, throughput or connection rate of a path from within the agent.
func (a *Agent) Bench(ctx context.Context, b wire.Bench) (wire.Benched, error) {
	return do[wire.Benched](ctx, a, wire.OpBench, b)
}
