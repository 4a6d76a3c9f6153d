package path

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/paths"
)

const (
	// timesSlower is how many times slower than the fastest of its kind a path is that is called slow.
	timesSlower = 10
	// transferred bytes go over a connection, transfers times; the best of them counts.
	transferred = 1 << 20
	transfers   = 3
	// roundTrips are measured of each path for their median, which is never called slow below noticed.
	roundTrips = 21
	noticed    = 2 * time.Millisecond
	// looksAgain is how often a path that looks slow is measured again, alone: a busy machine slows one path for a moment.
	looksAgain = 3
)

func slow() requirement.Requirement {
	return requirement.Requirement{
		ID:    "path/slow",
		Title: "No path between pods carries less than a tenth of what the fastest of its kind carries, nor takes more than ten times its time for a round trip.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/#the-kubernetes-network-model",
			Says: "Pods reach each other directly, wherever they run. That no path is much slower than its like is what everybody who schedules pods " +
				"assumes, and no document says.",
		},
		Why: "A port that came up with 100 Mbit/s, a shaper that was left, or a node that does in software what others do in hardware slow all pods of one " +
			"node, and nothing fails. Kinds are: one node; two nodes of one zone; nodes of two zones, by these. Of each path the best of some small transfers " +
			"and the median of some round trips count, and what looks slow is measured again, alone.",
		Roles: []world.Role{world.Everywhere}, Wants: []world.Role{world.Beside},
		PerFamily: true,
		Check:     checkSlow,
		Control: requirement.Control{
			Says:  "what goes over 128 KiB/s dropped on the path from the last node to the first",
			Fault: &requirement.Fault{Points: onOnePath(wire.Rule{Proto: "tcp", OverRate: 128 << 10})},
			Red:   []requirement.Reason{requirement.Slow},
		},
	}
}

// speed is how fast a path is.
type speed struct {
	route
	kind string
	rate float64       // bytes a second, of the best transfer; 0: none came through
	trip time.Duration // the median of a round trip
}

func checkSlow(ctx context.Context, env *requirement.Env) error {
	routes, err := routesOf(env)
	if err != nil {
		return err
	}
	kindOf, err := kinds(ctx, env)
	if err != nil {
		return err
	}
	release, err := serve(ctx, targets(routes), wire.Listen{Network: "tcp", Address: requirement.At(env.Any(), env.Port(0)), Behave: "digest"})
	if err != nil {
		return err
	}
	defer release()
	all := make([]*speed, len(routes))
	for i, r := range routes {
		all[i] = &speed{route: r, kind: kindOf(r)}
	}
	if err := atOnce(ctx, max(2, len(routes)/(1+paths.Neighbours)/2), all, func(ctx context.Context, s *speed) error {
		return s.measure(ctx, env)
	}); err != nil {
		return err
	}
	again := looksAgain
	if env.Patience == 0 {
		again = 1
	}
	for begun := time.Now(); again > 0 && time.Since(begun) < sampleFor; again-- {
		for _, s := range behind(all) {
			if err := s.measure(ctx, env); err != nil {
				return err
			}
		}
	}
	for _, kind := range kindsOf(all) {
		fast, late := extremes(all, kind)
		env.Note("%s, %s: %d MiB/s to %d MiB/s, round trips of %s to %s", env.Family, kind, int(late.rate)>>20, int(fast.rate)>>20, fast.trip, late.trip)
	}
	return slowFailure(env, all)
}

// kinds sorts paths into kinds, by the nodes' zones.
func kinds(ctx context.Context, env *requirement.Env) (func(route) string, error) {
	nodes, err := env.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the zones of the nodes: %w", err)
	}
	zones := map[string]string{}
	for _, n := range nodes.Items {
		zones[n.Name] = n.Labels[corev1.LabelTopologyZone]
	}
	return func(r route) string {
		a, b := zones[r.from.Node], zones[r.to.Node]
		switch {
		case r.from.Node == r.to.Node:
			return "on one node"
		case a == b:
			return "between nodes"
		}
		return fmt.Sprintf("between nodes of %q and %q", min(a, b), max(a, b))
	}, nil
}

// measure keeps the best of some transfers over one connection, and of the medians of the round trips on it. How long it takes to open
// is path/second-syn's.
func (s *speed) measure(ctx context.Context, env *requirement.Env) error {
	talk := s.talk("tcp", env.Port(0))
	talk.Digest = true
	var held wire.Exchange
	if err := env.Until(ctx, func(ctx context.Context) (err error) {
		held, err = exchange.KeepOpen(ctx, env, talk)
		return err
	}); err != nil {
		return err
	}
	defer exchange.Release(ctx, s.from, held.Handle)
	ask := wire.Connect{Network: "tcp", Reuse: held.Handle, Digest: true, Brief: true, Count: roundTrips, Timeout: int(env.Attempt.Milliseconds())}
	got, err := s.from.Connect(ctx, ask)
	if err != nil {
		return fmt.Errorf("asking %s for round trips: %w", s.from, err)
	}
	if slices.Sort(got.Each); len(got.Each) > 0 {
		trip := (time.Duration(got.Each[len(got.Each)/2]) * time.Microsecond).Round(10 * time.Microsecond)
		if s.trip == 0 || trip < s.trip {
			s.trip = trip
		}
	}
	ask.Bytes, ask.Count = transferred, transfers
	if got, err = s.from.Connect(ctx, ask); err != nil {
		return fmt.Errorf("asking %s for a transfer: %w", s.from, err)
	}
	for _, micros := range got.Each {
		s.rate = max(s.rate, transferred*1e6/float64(max(micros, 1)))
	}
	return nil
}

// behind are the paths that are slow, as far as is known by now.
func behind(all []*speed) (late []*speed) {
	for _, kind := range kindsOf(all) {
		like := of(all, kind)
		var rates, trips []float64
		for _, s := range like {
			rates, trips = append(rates, s.rate), append(trips, 1/max(s.trip, time.Microsecond).Seconds())
		}
		slow := paths.Behind(rates, timesSlower)
		for _, i := range paths.Behind(trips, timesSlower) {
			if like[i].trip >= noticed && !slices.Contains(slow, i) {
				slow = append(slow, i)
			}
		}
		for _, i := range slow {
			late = append(late, like[i])
		}
	}
	return late
}

func kindsOf(all []*speed) (kinds []string) {
	for _, s := range all {
		kinds = append(kinds, s.kind)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

func of(all []*speed, kind string) (like []*speed) {
	for _, s := range all {
		if s.kind == kind {
			like = append(like, s)
		}
	}
	return like
}

// extremes are the fastest and the slowest rate and round trip of the kind, which may be different paths'.
func extremes(all []*speed, kind string) (fast, late speed) {
	for i, s := range of(all, kind) {
		if i == 0 {
			fast, late = *s, *s
		}
		fast.rate, late.rate = max(fast.rate, s.rate), min(late.rate, s.rate)
		fast.trip, late.trip = min(fast.trip, s.trip), max(late.trip, s.trip)
	}
	return fast, late
}

// slowFailure names the slowest path, and the others; nil where none is.
func slowFailure(env *requirement.Env, all []*speed) error {
	late := behind(all)
	if len(late) == 0 {
		return nil
	}
	slices.SortStableFunc(late, func(a, b *speed) int { return int(a.rate - b.rate) })
	worst := late[0]
	fast, _ := extremes(all, worst.kind)
	said := func(s *speed) string {
		return fmt.Sprintf("%.1f MiB/s and a round trip of %s", s.rate/(1<<20), s.trip)
	}
	f := &requirement.Failure{Reason: requirement.Slow, From: worst.from, To: worst.to, Target: requirement.At(worst.ip, env.Port(0)), Protocol: "tcp",
		Expected: fmt.Sprintf("at least a tenth of what the fastest path %s does: %s", worst.kind, said(&fast)),
		Observed: fmt.Sprintf("%s: %s", worst.route, said(worst))}
	var others []string
	for _, s := range late[1:min(len(late), 7)] {
		others = append(others, fmt.Sprintf("%s (%s)", s.route, said(s)))
	}
	if len(others) > 0 {
		f.Observed += fmt.Sprintf("; %d more are: %s", len(late)-1, strings.Join(others, ", "))
	}
	return f
}
