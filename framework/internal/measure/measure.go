// Package measure measures the paths of a cluster between agents of the world: latency, throughput and new connections
// a second, in several rounds that take the paths in turn, so that a busy moment of the machine does not fall on one
// of them alone. Nothing is judged.
package measure

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// How long each figure of a round is measured, in milliseconds, and warmed up before: connections are made, buffers
// grown and pages touched by then.
const (
	rounds        = 5
	latencyFor    = 200
	throughputFor = 250
	connectFor    = 200
	warm          = 40
	// answerBound bounds one figure beyond its own time.
	answerBound = 20 * time.Second
	// rulesWithin bounds the wait for a new Service's rules.
	rulesWithin = 15 * time.Second
)

// way is one path between two ends.
type way struct {
	name     string
	from, to *requirement.End
	network  string
	dial     string
	missing  string
}

// figures are what the rounds gave.
type figures struct {
	p50, p99                []time.Duration
	throughput, connections []float64
	failed                  int
	last                    error // why
}

// round measures the path once.
func (p *way) round(ctx context.Context, f *figures) error {
	ask := func(do string, during int) (wire.Benched, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(during+warm)*time.Millisecond+answerBound)
		defer cancel()
		got, err := p.from.Bench(ctx, wire.Bench{Do: do, Network: p.network, Address: p.dial, Warm: warm, For: during})
		if err == nil && !got.Ok() {
			err = fmt.Errorf("%s of %s: %s", do, p.dial, got.Errno)
		}
		return got, err
	}
	latency, err := ask("latency", latencyFor)
	if err != nil {
		return err
	}
	throughput, err := ask("throughput", throughputFor)
	if err != nil {
		return err
	}
	connections, err := ask("connections", connectFor)
	if err != nil {
		return err
	}
	f.p50, f.p99 = append(f.p50, time.Duration(latency.P50)), append(f.p99, time.Duration(latency.P99))
	f.throughput = append(f.throughput, perSecond(throughput.Bytes, throughput.Took))
	f.connections = append(f.connections, perSecond(connections.Count, connections.Took))
	return nil
}

func perSecond(n, nanoseconds int64) float64 {
	if nanoseconds <= 0 {
		return 0
	}
	return float64(n) / time.Duration(nanoseconds).Seconds()
}

// measureAll takes the paths in turn. A round that fails is not in a path's figures, and is told of.
func measureAll(ctx context.Context, paths []*way, say func(format string, args ...any)) []reports.Path {
	all := make([]figures, len(paths))
	for n := range rounds {
		for i, p := range paths {
			if p.missing != "" || ctx.Err() != nil {
				continue
			}
			if err := p.round(ctx, &all[i]); err != nil && ctx.Err() == nil {
				all[i].failed, all[i].last = all[i].failed+1, err
			}
		}
		say("measuring: round %d of %d", n+1, rounds)
	}
	var told []reports.Path
	for i, p := range paths {
		f := &all[i]
		one := reports.Path{Name: p.name, Missing: p.missing}
		if p.from != nil && p.to != nil {
			one.From, one.To = p.from.String(), p.to.String()
		}
		switch {
		case p.missing != "":
		case len(f.p50) == 0 && f.last != nil:
			one.Missing = f.last.Error()
		case len(f.p50) == 0:
			one.Missing = "the run ended before"
		default:
			if f.failed > 0 {
				one.Trouble = fmt.Sprintf("%d of %d rounds failed, the last with: %s", f.failed, f.failed+len(f.p50), f.last)
			}
			one.Rounds = len(f.p50)
			one.LatencyP50, one.LatencyP99 = reports.TimesOf(f.p50), reports.TimesOf(f.p99)
			one.Throughput, one.Connections = reports.RatesOf(f.throughput), reports.RatesOf(f.connections)
		}
		told = append(told, one)
	}
	return told
}
