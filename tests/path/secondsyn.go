package path

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func secondSYN() requirement.Requirement {
	return requirement.Requirement{
		ID:    "path/second-syn",
		Title: "TCP connections between pods on every ordered pair of nodes, on one node and to a ClusterIP stand with their first SYN, hundreds in a row.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc6298#section-2",
			Says: "Until a round trip was measured the retransmission timer is a second: a SYN or its answer that is lost costs at least that. That a " +
				"path should not lose them, no document of Kubernetes says.",
		},
		Why: "\"Some connections take a second to open\" is a SYN that was lost: two connections that were to be given one source port at the same " +
			"moment, a full table of connections, an answer that went another way. What tries for longer than a second never sees it. The client's " +
			"kernel counts the SYNs (TCP_INFO). Each path opens hundreds one after another: two in a hundred are missed by a probability of " +
			"1e-3, one in 10,000 is called a fault by 1e-9 for all paths together.",
		Roles: []world.Role{world.Everywhere, world.WebNear}, Wants: []world.Role{world.Beside, world.WebFar},
		Services:  []world.Service{world.Web},
		PerFamily: true,
		Check:     checkSecondSYN,
		Control: requirement.Control{
			Says:  "every other SYN dropped on the path from the last node to the first",
			Fault: &requirement.Fault{Points: onOnePath(wire.Rule{Proto: "tcp", Flags: "syn", EveryNth: 2})},
			Red:   []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says: "every other SYN dropped as it reaches one endpoint of the Service",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.WebNear, dropped("forward", wire.Rule{Proto: "tcp", Flags: "syn", EveryNth: 2})),
				fault.InPodOf(world.WebNear, dropped("input", wire.Rule{Proto: "tcp", Flags: "syn", EveryNth: 2})),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

// opened is how the connections of a route came to stand.
type opened struct {
	sampled
	route
	question wire.Connect
}

func checkSecondSYN(ctx context.Context, env *requirement.Env) error {
	routes, err := routesOf(env)
	if err != nil {
		return err
	}
	release, err := serve(ctx, append(targets(routes), env.Roles(world.WebNear, world.WebFar)...), wire.Listen{Network: "tcp", Address: requirement.At(env.Any(), env.Port(0))})
	if err != nil {
		return err
	}
	defer release()
	through, err := ownService(ctx, env, env.Port(0))
	if err != nil {
		return err
	}
	routes = append(routes, through...)
	var mu sync.Mutex
	var all []opened
	may := losses(len(routes))
	err = sideBySide(ctx, routes, func(ctx context.Context, r route) error {
		port := env.Port(0)
		if r.to == nil {
			port = world.ServicePort
		}
		if _, err := exchange.Works(ctx, env, r.talk("tcp", port)); err != nil {
			return err
		}
		question := wire.Connect{Network: "tcp", Address: requirement.At(r.ip, port), Knock: true}
		s, err := r.sample(ctx, env, question, may, 0)
		mu.Lock()
		defer mu.Unlock()
		question.Knock = false
		all = append(all, opened{s, r, question})
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b opened) int {
		return cmp.Or(cmp.Compare(b.share(), a.share()), cmp.Compare(b.percentile(99), a.percentile(99)))
	})
	noteOpened(env, all)
	return openedFailure(all)
}

// noteOpened keeps the numbers; the worst path is the first.
func noteOpened(env *requirement.Env, all []opened) {
	count, again, unsure := 0, 0, 0
	for _, o := range all {
		count, again = count+o.Sent, again+o.bad()
		if !o.sure {
			unsure++
		}
	}
	worst := all[0]
	env.Note("%s: %d connections, %d with a second SYN or none answered; the worst path, %s: %d of %d, p50 %s, p99 %s to open", env.Family, count, again,
		worst.route, worst.bad(), worst.Sent, worst.percentile(50), worst.percentile(99))
	if unsure > 0 {
		env.Note("%s: on %d paths what was lost is not known for a fault, nor for none", env.Family, unsure)
	}
}

// openedFailure names the worst path, which is the first, and the others; nil where all are well.
func openedFailure(all []opened) error {
	bad := slices.DeleteFunc(slices.Clone(all), func(o opened) bool { return !o.fault })
	if len(bad) == 0 {
		return nil
	}
	worst := bad[0]
	f := &requirement.Failure{Reason: requirement.NoAnswer, From: worst.from, To: worst.to, Behind: worst.back, Target: worst.question.Address, Protocol: "tcp",
		Exchange: &worst.question, Attempts: worst.Sent, Final: requirement.SampleIsFinal,
		Expected: fmt.Sprintf("each of hundreds of connections to stand with its first SYN, or all but one in %.0f", 1/tolerated),
		Observed: fmt.Sprintf("%s: %s", worst.route, worst.says())}
	const most = 6
	var others []string
	for _, o := range bad[1:] {
		if len(others) == most {
			others = append(others, fmt.Sprintf("and %d more", len(bad)-1-most))
			break
		}
		others = append(others, fmt.Sprintf("%s (%d of %d)", o.route, o.bad(), o.Sent))
	}
	if len(others) > 0 {
		f.Observed += "; also " + strings.Join(others, ", ")
	}
	return f
}

// says is how many stood late, and how many not at all.
func (o opened) says() string {
	told := fmt.Sprintf("%d of %d connections needed a second SYN", o.again, o.Sent)
	if missing := o.Sent - o.tally[wire.OK]; missing > 0 {
		told += fmt.Sprintf(", %d did not stand within the time of two", missing)
	}
	return told
}
