package suite

import (
	"testing"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/probebench"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Bench measures how many probes a second the control channel and the agents carry between two pods of a real
// cluster: connect, echo, compare, and what both ends saw. Never a verdict.
func (r *Run) Bench(b *testing.B) {
	if len(r.columns) > 1 {
		b.Fatal(errBenchMatrix)
	}
	roles := map[world.Role]bool{world.SiblingA: true, world.Near: true, world.Far: true}
	if err := r.setUp(roles); err != nil {
		b.Fatal(err)
	}
	client := r.lab.cast.Ends(world.SiblingA)[0]
	for _, to := range []struct {
		name string
		role world.Role
	}{{"same-node", world.Near}, {"cross-node", world.Far}} {
		for _, server := range r.lab.cast.Ends(to.role) {
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
	if len(r.columns) > 1 {
		b.Fatal(errBenchMatrix)
	}
	if err := r.setUp(map[world.Role]bool{world.Crowd: true}); err != nil {
		b.Fatal(err)
	}
	crowd := r.lab.cast.Ends(world.Crowd)
	b.ResetTimer()
	var m *matrix
	for b.Loop() {
		var err error
		if m, err = sweep(r.ctx, crowd); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(m.tried())*float64(b.N)/b.Elapsed().Seconds(), "probes/s")
	r.progress.show(m.String())
	if n := m.broken(); n > 0 {
		b.Errorf("%d of %d exchanges failed", n, m.tried())
	}
}
