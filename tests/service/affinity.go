package service

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/tests/internal/draw"
)

// stickyPace is how a client connects while its affinity is looked at. What a proxy remembers of it and loses once a second is missed by
// three endpoints with a probability of 3^-9, by four with 4^-9, since each time one is drawn anew.
var stickyPace = exchange.Pace{Every: 20 * time.Millisecond, For: 10 * time.Second}

func sessionAffinity() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/session-affinity",
		Long:  true,
		Title: "With sessionAffinity ClientIP all connections that one client makes to a ClusterIP Service over 10 seconds reach one endpoint, over TCP and over UDP.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/networking/virtual-ips/#session-affinity",
			Says: "With sessionAffinity ClientIP, connections from a particular client are passed to the same pod each time, by the client's " +
				"IP address.",
		},
		Why: "Software that keeps a session in memory rests on it: a second endpoint does not know who is logged in. Each of the " +
			"proxy's modes has an implementation of its own. Each node's client connects every 20 ms for 10 s, beside other rows, and is judged " +
			"once: what a proxy forgets once a second is missed with a probability of 1 in 262,144 by four endpoints, 1 in 19,683 by three.",
		Roles:     []world.Role{world.Everywhere, world.Replica},
		Services:  []world.Service{world.Sticky},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ends := replicas(env)
			if len(ends) < 2 {
				return &requirement.Unsupported{Probed: "the Service has one endpoint in this cluster: no other to go to"}
			}
			return sampling{service: env.Service(world.Sticky), protocols: bothProtocols, ends: toAll(ends), anyOf: true,
				take: func(ctx context.Context, from draw.Source) (draw.Sample, error) {
					return from.TakeOver(ctx, stickyPace)
				},
				judge: toOne}.run(ctx, env)
		},
		Control: requirement.Control{
			Says:    "a Service without affinity before the same endpoints",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.Sticky: world.Replicas}},
			Red:     []requirement.Reason{requirement.WrongPeer},
		},
	}
}

func toOne(s draw.Sample, ends []*requirement.End, judgements int) error {
	if err := s.Among(ends, judgements); err != nil {
		return err
	}
	return s.One()
}

// affinityPause is longer than the timeout by what proxies that count in whole seconds may add.
const affinityPause = world.AffinitySeconds*time.Second + 1500*time.Millisecond

// affinityTimeout tries many ports at once, since each has an affinity of its own: that not one of BriefPorts draws another
// of k endpoints after the timeout has the probability k to the power of -BriefPorts: 1e-12 for four, 3e-10 for three.
func affinityTimeout() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/affinity-timeout",
		Title: "A client's affinity holds while it connects within timeoutSeconds, and ends when it was silent for longer.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/networking/virtual-ips/#session-stickiness-timeout",
			Says: "timeoutSeconds of sessionAffinityConfig.clientIP sets the maximum session sticky time, 10800 by default. That silence, and " +
				"not age, is what counts, kube-proxy decides.",
		},
		Why: "An affinity that never ends keeps every client of a NAT gateway or a long-lived proxy on one endpoint for good, and after " +
			"scaling up the new endpoints stay idle. 20 ports of the Service, each with an affinity of its own, are asked three times: twice in " +
			"a row, and after 7.5 s of silence; that none of them draws another endpoint then has a probability of 1e-12 by four, 3e-10 by three.",
		Roles:     []world.Role{world.Everywhere, world.Replica},
		Services:  []world.Service{world.StickyBriefly, world.StickyLong},
		PerFamily: true,
		Check:     checkAffinityTimeout,
		Control: requirement.Control{
			Says:    "the default timeout of three hours",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.StickyBriefly: world.StickyLong}},
			Red:     []requirement.Reason{requirement.Stale},
		},
	}
}

func checkAffinityTimeout(ctx context.Context, env *requirement.Env) error {
	ends := replicas(env)
	if len(ends) < 2 {
		return &requirement.Unsupported{Probed: "the Service has one endpoint in this cluster: no other to go to"}
	}
	ip, err := virtualIP(env, world.StickyBriefly)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, client := range env.Roles(world.Everywhere) {
		asker := affinityClient{client: client, ip: ip, endpoints: ends}
		group.Go(func() error {
			// Until each of the ports is known, which may take its time; then once.
			if err := env.Until(ctx, func(ctx context.Context) error { _, err := asker.once(ctx, env); return err }); err != nil {
				return err
			}
			var at [3]answers
			var err error
			if at[0], at[1], err = asker.twice(ctx, env); err != nil {
				return err
			}
			if err := until.Idle(ctx, affinityPause); err != nil {
				return err
			}
			if at[2], err = asker.once(ctx, env); err != nil {
				return err
			}
			return affinityKept(env, client, ip.String(), at)
		})
	}
	return group.Wait()
}

// affinityClient connects to the ports of StickyBriefly.
type affinityClient struct {
	client    *requirement.End
	ip        netip.Addr
	endpoints []*requirement.End
}

// answers are who answered, by port.
type answers [world.BriefPorts]string

// twice connects to each of the ports two times in a time that is short against the affinity's; a busy machine gets some tries
// at that.
func (c affinityClient) twice(ctx context.Context, env *requirement.Env) (first, second answers, err error) {
	const tries, within = 4, world.AffinitySeconds * time.Second * 2 / 3
	var took time.Duration
	for range tries {
		begun := time.Now()
		if first, err = c.once(ctx, env); err != nil {
			return first, second, err
		}
		if second, err = c.once(ctx, env); err != nil {
			return first, second, err
		}
		if took = time.Since(begun); took < within {
			return first, second, nil
		}
	}
	return first, second, fmt.Errorf("%d connections of %s took %s, %d times: too long to judge an affinity of %d s by them",
		2*world.BriefPorts, c.client, took.Round(time.Millisecond), tries, world.AffinitySeconds)
}

// once connects to each of the ports, all at once.
func (c affinityClient) once(ctx context.Context, env *requirement.Env) (at answers, err error) {
	group, ctx := errgroup.WithContext(ctx)
	for i := range at {
		group.Go(func() error {
			seen, err := exchange.Again(ctx, env, exchange.Talk{From: c.client, Among: c.endpoints, Network: "tcp", Dial: requirement.At(c.ip, world.ServicePort+i)})
			if err == nil {
				at[i] = seen.Witness.Who
			}
			return err
		})
	}
	err = group.Wait()
	return at, err
}

func affinityKept(env *requirement.Env, client *requirement.End, ip string, at [3]answers) error {
	moved := func(a, b int) (n int) {
		for i := range at[a] {
			if at[a][i] != at[b][i] {
				n++
			}
		}
		return n
	}
	fail := func(reason requirement.Reason, expected, observed string) error {
		return &requirement.Failure{Reason: reason, From: client, Target: ip, Protocol: "tcp", Expected: expected, Observed: observed,
			Attempts: 1, Final: requirement.SampleIsFinal,
			Again: fmt.Sprintf("kubectl get service -n %s %s -o jsonpath={.spec.sessionAffinityConfig}", client.Namespace, env.Service(world.StickyBriefly).Name)}
	}
	if n := moved(0, 1); n > 0 {
		return fail(requirement.WrongPeer, "the endpoint that answered a moment before, on each of the Service's ports",
			fmt.Sprintf("another on %d of %d", n, world.BriefPorts))
	}
	n := moved(0, 2)
	if n == 0 {
		return fail(requirement.Stale, fmt.Sprintf("endpoints to be chosen anew after %s of silence", affinityPause),
			fmt.Sprintf("the same endpoint as before on all %d ports", world.BriefPorts))
	}
	env.Note("%s from %s: %d of %d ports led to another endpoint after %s of silence", env.Family, client.Node, n, world.BriefPorts, affinityPause)
	return nil
}
