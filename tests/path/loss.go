package path

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/chance"
	"github.com/parley-k8s/parley/tests/internal/paths"
)

func loss() requirement.Requirement {
	return requirement.Requirement{
		ID:    "path/loss",
		Title: "Between pods on every ordered pair of nodes, and on one node, small and full-size datagrams arrive and are answered, hundreds in a row.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc3819#section-8.5.3",
			Says: "What TCP carries falls with the loss of the path, so that a subnetwork has to keep its own loss far below that of congestion. " +
				"The network model of Kubernetes promises every pod a path to every other, and names no share that may be lost.",
		},
		Why: "A path that loses one packet in ten passes whatever is tried again, and is the slow path that nobody finds: a cable, a full queue, a wrong " +
			"duplex, a tunnel whose checksums are dropped now and then. Each path is asked one question after another, none of them twice, small ones " +
			"and such as fill the MTU: two lost in a hundred are missed by a probability of 1e-3, one in 10,000 is called a fault by 1e-9 for all " +
			"paths together (Wald's sequential test).",
		Roles: []world.Role{world.Everywhere}, Wants: []world.Role{world.Beside},
		PerFamily: true,
		Check:     checkLoss,
		Control: requirement.Control{
			Says:  "one datagram in four dropped on the path from the last node to the first",
			Fault: &requirement.Fault{Points: onOnePath(wire.Rule{Proto: "udp", EveryNth: 4})},
			Red:   []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says:  fmt.Sprintf("of those over %d bytes, one in four dropped on that path", longOnes),
			Fault: &requirement.Fault{Points: onOnePath(wire.Rule{Proto: "udp", EveryNth: 4, Longer: longOnes})},
			Red:   []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

// The kinds of datagrams, each with a server's port of its own.
var datagrams = []string{"small", "full-size"}

// lossOf is what a route lost of one kind of datagrams.
type lossOf struct {
	sampled
	route
	kind  int
	bytes int // of the payload
}

func checkLoss(ctx context.Context, env *requirement.Env) error {
	routes, err := routesOf(env)
	if err != nil {
		return err
	}
	var servers []wire.Listen
	for kind := range datagrams {
		servers = append(servers, wire.Listen{Network: "udp", Address: requirement.At(env.Any(), env.Port(kind)), Behave: "digest"})
	}
	release, err := serve(ctx, targets(routes), servers...)
	if err != nil {
		return err
	}
	defer release()
	var mu sync.Mutex
	var all []lossOf
	may := losses(len(datagrams) * len(routes))
	err = sideBySide(ctx, routes, func(ctx context.Context, r route) error {
		talk := r.talk("udp", env.Port(0))
		talk.Digest = true
		heard, err := exchange.Works(ctx, env, talk) // a path that is still becoming one loses nothing
		if err != nil {
			return err
		}
		full, err := fullSize(ctx, env, r.from)
		if err != nil {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		for kind, bytes := range []int{0, full} {
			group.Go(func() error {
				before := 0
				if kind == 0 {
					before = heard.Witness.Nth
				}
				s, err := r.sample(ctx, env, wire.Connect{Network: "udp", Address: requirement.At(r.ip, env.Port(kind)), Bytes: bytes, Digest: true}, may, before)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, lossOf{s, r, kind, bytes})
				return err
			})
		}
		return group.Wait()
	})
	if err != nil {
		return err
	}
	noteLosses(env, all)
	return lossFailure(env, all, may)
}

// Bytes of headers before a datagram's payload, and the longest packet that is called full-size: what fills the MTU of a loopback-like
// interface fills the sockets' buffers besides.
const (
	headers4 = 20 + 8
	headers6 = 40 + 8
	longest  = 9000
	longOnes = 1000 // of the control: small datagrams are shorter, full-size ones longer
)

// fullSize is the payload of a datagram that fills the MTU of the end's interface.
func fullSize(ctx context.Context, env *requirement.Env, end *requirement.End) (int, error) {
	own, err := env.IP(end)
	if err != nil {
		return 0, err
	}
	device, err := fault.InterfaceOf(ctx, end, own)
	if err != nil {
		return 0, err
	}
	headers := headers4
	if env.Family == corev1.IPv6Protocol {
		headers = headers6
	}
	return min(device.MTU, longest) - headers, nil
}

// noteLosses keeps the numbers, of each kind the path that is worst.
func noteLosses(env *requirement.Env, all []lossOf) {
	for kind, name := range datagrams {
		asked, lost, unsure := 0, 0, 0
		var worst lossOf
		for _, l := range all {
			if l.kind != kind {
				continue
			}
			asked, lost = asked+l.Sent, lost+l.bad()
			if !l.sure {
				unsure++
			}
			if worst.route.from == nil || l.share() > worst.share() || l.share() == worst.share() && l.percentile(99) > worst.percentile(99) {
				worst = l
			}
		}
		if worst.route.from == nil {
			continue
		}
		env.Note("%s: %d %s datagrams of up to %d bytes, %d not answered; the worst path, %s: %d of %d, p50 %s, p99 %s", env.Family, asked, name, max(worst.bytes, 32), lost,
			worst.route, worst.bad(), worst.Sent, worst.percentile(50), worst.percentile(99))
		if unsure > 0 {
			env.Note("%s: on %d paths what was lost of %s datagrams is not known for a fault, nor for none", env.Family, unsure, name)
		}
	}
}

// lossFailure names the path and the direction that lose most, and the others; nil where none loses.
func lossFailure(env *requirement.Env, all []lossOf, may chance.Losses) error {
	lossy := slices.DeleteFunc(slices.Clone(all), func(l lossOf) bool { return !l.fault })
	if len(lossy) == 0 {
		return nil
	}
	slices.SortFunc(lossy, func(a, b lossOf) int { return cmp.Compare(b.share(), a.share()) })
	worst := lossy[0]
	way, reverse := paths.Ways(worst.Exchanged, opposite(all, worst))
	if reverse.Lost > way.Lost {
		if other := slices.IndexFunc(all, worst.opposes); other >= 0 { // it is the other's questions that are lost
			worst, way, reverse = all[other], reverse, way
		}
	}
	question := wire.Connect{Network: "udp", Address: requirement.At(worst.ip, env.Port(worst.kind)), Bytes: worst.bytes, Digest: true}
	f := &requirement.Failure{Reason: requirement.NoAnswer, From: worst.from, To: worst.to, Target: question.Address, Protocol: "udp", Exchange: &question,
		Expected: fmt.Sprintf("an answer to each of hundreds of %s datagrams, or to all but one in %.0f", datagrams[worst.kind], 1/may.Tolerated),
		Observed: fmt.Sprintf("%d of %d lost from %s to %s, and %d of %d the other way", way.Lost, way.Sent, worst.from.Node, worst.to.Node, reverse.Lost, reverse.Sent),
		Attempts: worst.Sent, Final: requirement.SampleIsFinal}
	if worst.from.Node == worst.to.Node {
		f.Observed = fmt.Sprintf("%d of %d lost between two pods on %s on the way there, and %d of %d on the way back", way.Lost, way.Sent, worst.from.Node, reverse.Lost, reverse.Sent)
	}
	if others := named(lossy, 6); len(lossy) > 1 {
		f.Observed += "; exchanges lost: " + others
	}
	return f
}

func named(lossy []lossOf, most int) string {
	var parts []string
	for _, l := range lossy[:min(most, len(lossy))] {
		parts = append(parts, fmt.Sprintf("%s %d of %d %s", l.route, l.bad(), l.Sent, datagrams[l.kind]))
	}
	if more := len(lossy) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}

// opposes says whether the other is the same kind of datagrams the other way.
func (l lossOf) opposes(other lossOf) bool {
	return l.kind == other.kind && l.from.Node == other.to.Node && l.to.Node == other.from.Node && l.from.Node != l.to.Node
}

func opposite(all []lossOf, of lossOf) paths.Exchanged {
	if i := slices.IndexFunc(all, of.opposes); i >= 0 {
		return all[i].Exchanged
	}
	return paths.Exchanged{}
}
