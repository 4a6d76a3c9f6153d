package service

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/convergence"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// settleFor lets time pass for what must not happen in it.
func settleFor(ctx context.Context, d time.Duration) error { return until.Idle(ctx, d) }

// holdEverywhere opens a TCP connection through the Service from every node, each from a port of the requirement's own, and
// gives back clients that go on asking on it.
func holdEverywhere(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, with *requirement.End) (clients []convergence.Client, err error) {
	ips, err := clusterIPsOf(service)
	if err != nil {
		return nil, err
	}
	for _, ip := range ips {
		for _, from := range env.Roles(world.Everywhere) {
			talk := exchange.Talk{From: from, To: with, Network: "tcp", Dial: requirement.At(ip, world.ServicePort), Source: fmt.Sprintf(":%d", env.Port(1))}
			seen, err := exchange.KeepOpen(ctx, env, talk)
			if err != nil {
				return nil, err
			}
			env.Defer(func(ctx context.Context) error { exchange.Release(ctx, from, seen.Handle); return nil })
			clients = append(clients, convergence.Client{From: from, Network: "tcp", Dial: talk.Dial, Reuse: seen.Handle, Within: noneLost})
		}
	}
	return clients, nil
}

// stillHeld says whether the held connections were answered all along, and are once more after what a control does.
func stillHeld(ctx context.Context, env *requirement.Env, using *convergence.Watch, since time.Time, expect convergence.Expect) error {
	if err := env.Midway(ctx); err != nil {
		return err
	}
	asked, err := using.Unbroken(ctx, since, expect)
	env.Note("%d questions on connections that stood before were answered", asked)
	return err
}

func connectionsSurviveJoin() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/connections-survive-change",
		Long:  true,
		Title: "A TCP connection through a ClusterIP goes on, with the same endpoint, while other endpoints join and leave the Service.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/networking/virtual-ips/#proxy-mode-iptables",
			Says: "The proxy chooses an endpoint for a new connection; the packets of one that stands follow the kernel's connection tracking, and " +
				"not the rules that change with the endpoints.",
		},
		Why: "Every scaling changes the endpoints of a Service that is in use. A data path that hashes each packet over the endpoints of the " +
			"moment moves connections to servers that have never heard of them.",
		Roles: []world.Role{world.Everywhere, world.Near, world.WebNear, world.SiblingA}, PerFamily: true,
		Check: checkSurviveJoin,
		Control: requirement.Control{
			Says: "what comes back on those connections dropped once the others have come and gone",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.InPodOf(world.Near, fault.DropOwnPorts("input", "tcp"))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func checkSurviveJoin(ctx context.Context, env *requirement.Env) error {
	label, stays, comes := ownLabel(), env.Role(world.WebNear), env.Role(world.SiblingA)
	if err := mark(ctx, env, stays, label, true); err != nil {
		return err
	}
	service, err := selecting(ctx, env, label, nil)
	if err != nil {
		return err
	}
	watch, err := watchService(ctx, env, service)
	if err != nil {
		return err
	}
	if err := watch.Change(ctx, expectAnswers(serviceMade, stays), unchanged); err != nil {
		return err
	}
	held, err := holdEverywhere(ctx, env, service, stays)
	if err != nil {
		return err
	}
	using := convergence.Begin(ctx, env, held...)
	since := time.Now()
	both := expectAnswers("a second endpoint joins", stays, comes)
	both.Every = true
	if err := watch.Change(ctx, both, atOnce(func(ctx context.Context) error { return mark(ctx, env, comes, label, true) })); err != nil {
		return err
	}
	if err := watch.Change(ctx, expectAnswers("one endpoint of two leaves", stays), atOnce(func(ctx context.Context) error {
		return mark(ctx, env, comes, label, false)
	})); err != nil {
		return err
	}
	return stillHeld(ctx, env, using, since, expectAnswers("others' joining and leaving, on connections that stood before", stays))
}
