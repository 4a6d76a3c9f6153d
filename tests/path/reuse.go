package path

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/chance"
)

func sourcePortReuse() requirement.Requirement {
	return requirement.Requirement{
		ID:    "path/source-port-reuse",
		Title: "A client that uses a source port again at once, after the server has closed the last connection, is served, by a pod and through a ClusterIP.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc6191#section-2",
			Says: "A connection in TIME-WAIT is to give way to a new SYN of the same addresses and ports that is later by timestamp or sequence number; " +
				"RFC 9293, section 3.6.1, allows it too.",
		},
		Why: "Clients with few ports, or fixed ones, come again within a second. What keeps state about connections on the way must take the new one for " +
			"new: a proxy that still has the old one's entry drops its SYN or sends it to an endpoint that is gone (conn_reuse_mode of IPVS), and the client " +
			"waits a second or a minute. The server closes first, so that TIME-WAIT is its own. Ten reuses of each path in a row; half of them late is " +
			"missed by a probability of 1e-3, one in a thousand is called a fault by 1e-9.",
		Roles: []world.Role{world.Everywhere, world.WebNear}, Wants: []world.Role{world.WebFar},
		Services:  []world.Service{world.Web},
		PerFamily: true,
		Check:     checkReuse,
		Control: requirement.Control{
			Says: "what comes again from those source ports dropped at one endpoint, once it was served",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.InPodOf(world.WebNear, fault.DropFrom("input", "tcp"))),
				fault.Midway(fault.InPodOf(world.Everywhere, fault.DropFrom("output", "tcp"))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

// reused is how a path's connections from one source port ended.
type reused struct {
	route
	sampled
}

func checkReuse(ctx context.Context, env *requirement.Env) error {
	routes, err := toPods(env)
	if err != nil {
		return err
	}
	release, err := serve(ctx, targets(routes), wire.Listen{Network: "tcp", Address: requirement.At(env.Any(), env.Port(0)), Behave: "answer-and-close"})
	if err != nil {
		return err
	}
	defer release()
	through, err := ownService(ctx, env, env.Port(0))
	if err != nil {
		return err
	}
	for _, r := range through {
		r.to = nil
		routes = append(routes, r)
	}
	if err := sideBySide(ctx, routes, func(ctx context.Context, r route) error { // the first use of the port
		return env.Until(ctx, func(ctx context.Context) error {
			got, err := r.from.Connect(ctx, r.fromOnePort(env))
			if err != nil {
				return fmt.Errorf("asking %s for a connection: %w", r.from, err)
			}
			if seen := got.Seen[0]; !seen.Ok() {
				return &requirement.Failure{Reason: requirement.ReasonOf(seen.Errno), From: r.from, To: r.to, Behind: r.back, Target: r.fromOnePort(env).Address,
					Protocol: "tcp", Expected: "an answer", Observed: fmt.Sprintf("%s at %s", seen.Errno, seen.Step)}
			}
			return nil
		})
	}); err != nil {
		return err
	}
	if err := env.Midway(ctx); err != nil {
		return err
	}
	var mu sync.Mutex
	var all []reused
	may := chance.Losses{Tolerated: 1e-3, Sought: 0.5, Alarm: chance.FalseAlarm / float64(len(routes)), Miss: missed}
	if err := sideBySide(ctx, routes, func(ctx context.Context, r route) error {
		s, err := r.sample(ctx, env, r.fromOnePort(env), may, 0)
		mu.Lock()
		defer mu.Unlock()
		one := reused{r, s}
		if n := one.unused(may); n > 0 {
			env.Note("%s: of %s only %d reuses were judged: the server's FIN did not arrive, so the client holds its source port in TIME-WAIT", env.Family, r, one.Sent)
		}
		all = append(all, one)
		return err
	}); err != nil {
		return err
	}
	return reuseFailure(env, all)
}

// toPods are the paths to each endpoint of Web from the pod of every node.
func toPods(env *requirement.Env) (all []route, err error) {
	for _, from := range env.Roles(world.Everywhere) {
		for _, to := range webEndpoints(env) {
			ip, err := env.IP(to)
			if err != nil {
				return nil, err
			}
			all = append(all, route{from: from, to: to, ip: ip})
		}
	}
	return all, nil
}

// fromOnePort is a connection from the path's own source port, which the server closes first.
func (r route) fromOnePort(env *requirement.Env) wire.Connect {
	c := wire.Connect{Network: "tcp", Address: requirement.At(r.ip, world.ServicePort), Source: fmt.Sprintf(":%d", env.Port(1)), AfterThem: true,
		Timeout: int(env.Attempt.Milliseconds())}
	if r.to != nil {
		c.Address = requirement.At(r.ip, env.Port(0))
		c.Source = fmt.Sprintf(":%d", env.Port(2))
	}
	return c
}

// unused takes those attempts out that could not be made, since the client had to close the last connection itself and holds its port in
// TIME-WAIT: the server's FIN was lost or late, which is no matter of reuse. It says how many there were.
func (r *reused) unused(may chance.Losses) int {
	n := r.tally[wire.NotFree]
	if n > 0 {
		delete(r.tally, wire.NotFree)
		r.Sent -= n
		r.fault, r.sure = may.Decided(r.bad(), r.Sent)
	}
	return n
}

// reuseFailure names the path that is served worst, and the others; nil where all are served.
func reuseFailure(env *requirement.Env, all []reused) error {
	uses := 0
	var worst *reused
	var told []string
	for i, r := range all {
		uses += r.Sent
		for class := range r.tally {
			switch class {
			case wire.OK, wire.TimedOut, wire.Refused, wire.Unreachable, wire.Reset, wire.Denied:
			default:
				return fmt.Errorf("%s could not use its source port again: %d attempts ended as %q", r.from, r.tally[class], class)
			}
		}
		if !r.fault {
			continue
		}
		told = append(told, fmt.Sprintf("%s (%d of %d)", r.route, r.bad(), r.Sent))
		if worst == nil || r.share() > worst.share() {
			worst = &all[i]
		}
	}
	if worst == nil {
		env.Note("%s: %d times a source port was used again at once over %d paths, and served", env.Family, uses, len(all))
		return nil
	}
	slices.Sort(told)
	question := worst.fromOnePort(env)
	return &requirement.Failure{Reason: requirement.NoAnswer, From: worst.from, To: worst.to, Behind: worst.back, Target: question.Address, Protocol: "tcp",
		Expected: "each new connection from a source port that was used a moment ago to be served with its first SYN",
		Observed: fmt.Sprintf("of %d, %d not served and %d only after a second SYN; paths: %s", worst.Sent, worst.Sent-worst.tally[wire.OK], worst.again, strings.Join(told, ", ")),
		Attempts: worst.Sent, Final: requirement.SampleIsFinal}
}
