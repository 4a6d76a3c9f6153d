package suite

import (
	"errors"
	"testing"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/lab"
	"github.com/parley-k8s/parley/framework/internal/matrix"
	"github.com/parley-k8s/parley/framework/internal/probebench"
	"github.com/parley-k8s/parley/framework/internal/stage"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Bench measures how many probes a second the control channel and the agents carry between two pods of a real
// cluster: connect, echo, compare, and what both ends saw. Never a verdict.
func (r *Run) Bench(b *testing.B) {
	on, err := r.stageFor(world.Roles{world.SiblingA: world.Once, world.Near: world.Once, world.Far: world.Once})
	if err != nil {
		b.Fatal(err)
	}
	client := on.Ends(world.SiblingA)[0]
	for _, to := range []struct {
		name string
		role world.Role
	}{{"same-node", world.Near}, {"cross-node", world.Far}} {
		for _, server := range on.Ends(to.role) {
			b.Run(to.name, func(b *testing.B) { probebench.ConnectEcho(r.ctx, b, pairOf(client, server)) })
		}
	}
	b.Run("channel", func(b *testing.B) { probebench.RoundTrip(r.ctx, b, client.Agent) })
}

func pairOf(client, server *requirement.End) probebench.Pair {
	return probebench.Pair{Client: client.Agent, Server: server.Agent, Host: server.IPs[0].String()}
}

// BenchMatrix sweeps all ordered pairs of the crowd over TCP and UDP and draws what it saw.
func (r *Run) BenchMatrix(b *testing.B) {
	on, err := r.stageFor(world.Roles{world.Crowd: world.Once})
	if err != nil {
		b.Fatal(err)
	}
	crowd := on.Ends(world.Crowd)
	b.ResetTimer()
	var seen *probebench.Pairs
	for b.Loop() {
		if seen, err = probebench.AllPairs(r.ctx, crowd); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(seen.Tried())*float64(b.N)/b.Elapsed().Seconds(), "probes/s")
	r.log.Show(seen.String())
	if n := seen.Broken(); n > 0 {
		b.Errorf("%d of %d exchanges failed", n, seen.Tried())
	}
}

var errBenchMatrix = errors.New("a benchmark is of one cluster: ask for one value of each axis")

// stageFor deploys a world with those roles for a benchmark; finish removes it.
func (r *Run) stageFor(roles world.Roles) (*stage.Stage, error) {
	if len(r.columns) > 1 {
		return nil, errBenchMatrix
	}
	r.remove() // that of a benchmark before
	plan, err := matrix.New(r.ctx, r.matrixOptions())
	if err != nil {
		return nil, r.orInterrupted(err)
	}
	if r.lab, err = lab.Open(r.ctx, r.labOptions(plan, roles)); err != nil {
		return nil, err
	}
	r.stage = stage.New(r.lab, r.stageOptions(r.columns[0], 0, roles))
	if err := r.stage.Prepare(r.ctx); err != nil {
		return nil, r.orInterrupted(err)
	}
	return r.stage, r.orInterrupted(r.stage.Deploy(r.ctx))
}
