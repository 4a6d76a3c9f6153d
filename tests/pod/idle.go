package pod

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// idleFor is longer than the idle timeouts of the usual load balancers and NAT gateways that people put by mistake into
// the path (4 minutes, 350 seconds less the probes), and far below the connection tracking's own.
const idleFor = 5 * time.Minute

func idleConnection() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/idle-connection",
		Title: "A TCP connection between two pods that was idle for 5 minutes still carries data, on one node and across nodes.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc5382#section-5",
			Says: "TCP itself has no idle timeout, and whatever keeps state about a connection on the way must keep it for at least " +
				"2 hours and 4 minutes.",
		},
		Why: "Database pools and message consumers keep silent for minutes. A stateful hop that forgets them drops the next packet without " +
			"a word, and the client hangs until its own timeout.",
		Slow:      true,
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.Near},
		Wants:     []world.Role{world.Far},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			var talks []exchange.Talk
			for i, peer := range peersOf(env) {
				ip, err := env.IP(peer)
				if err != nil {
					return err
				}
				server, err := peer.Listen(ctx, wire.Listen{Network: "tcp", Address: requirement.At(env.Any(), env.Port(0))})
				if err != nil {
					return fmt.Errorf("opening a server in %s: %w", peer, err)
				}
				if !server.Ok() {
					return fmt.Errorf("%s cannot open a server: %s", peer, server.Errno)
				}
				defer exchange.Release(ctx, peer, server.Handle)
				talks = append(talks, exchange.Talk{From: env.Role(world.SiblingA), To: peer, Network: "tcp",
					Source: fmt.Sprintf(":%d", env.Port(1+i)), Dial: requirement.At(ip, env.Port(0))})
			}
			return staysUsable(ctx, env, talks...)
		},
		Control: requirement.Control{
			Says: "what the servers send on those connections dropped once they stand",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.InPodOf(world.SiblingA, fault.DropFrom("input", "tcp"))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func idleServiceConnection() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/idle-connection-service",
		Title: "A TCP connection of a pod through a ClusterIP that was idle for 5 minutes still carries data, with the same endpoint.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-proxy/",
			Says: "kube-proxy keeps established connections tracked for 24 hours of idleness by default " +
				"(--conntrack-tcp-timeout-established).",
		},
		Why: "Behind a virtual IP the node alone knows which endpoint a connection has. When it forgets, the next packet goes nowhere or " +
			"to an endpoint that has never heard of it.",
		Slow:      true,
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.WebNear},
		Wants:     []world.Role{world.WebFar},
		Services:  []world.Service{world.Web},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, ok := env.Service(world.Web).ClusterIP(env.Family)
			if !ok {
				return fmt.Errorf("the Service %s has no virtual IP of %s", world.Web, env.Family)
			}
			var talks []exchange.Talk
			for i := range idleThroughService {
				talks = append(talks, exchange.Talk{From: env.Role(world.SiblingA), Among: append(env.Roles(world.WebNear), env.Roles(world.WebFar)...),
					Network: "tcp", Source: fmt.Sprintf(":%d", env.Port(i)), Dial: requirement.At(ip, world.ServicePort)})
			}
			return staysUsable(ctx, env, talks...)
		},
		Control: requirement.Control{
			Says: "the connections forgotten by the node that translates them, once they stand",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.ForgetTracked(world.SiblingA, "tcp", 0, 1, 2, 3)),
				fault.Midway(fault.InPodOf(world.SiblingA, fault.DropToService("output", world.Web, "tcp"))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer, requirement.Broken},
		},
	}
}

// idleThroughService is how many connections are held through the ClusterIP: both endpoints get some.
const idleThroughService = 4

// staysUsable opens the connections, leaves them alone, and uses them again.
func staysUsable(ctx context.Context, env *requirement.Env, talks ...exchange.Talk) error {
	held := make([]wire.Exchange, len(talks))
	for i, talk := range talks {
		if err := env.Until(ctx, func(ctx context.Context) (err error) {
			held[i], err = exchange.KeepOpen(ctx, env, talk)
			return err
		}); err != nil {
			return err
		}
		defer exchange.Release(ctx, talk.From, held[i].Handle)
	}
	if err := env.Midway(ctx); err != nil {
		return err
	}
	pause := idleFor
	if env.Patience == 0 {
		pause = time.Second // a control acts at once
	}
	if err := until.Idle(ctx, pause); err != nil {
		return err
	}
	for i, talk := range talks {
		talk.Reuse = held[i].Handle
		seen, err := exchange.Again(ctx, env, talk)
		if err != nil {
			if f := requirement.AsFailure(err); f != nil {
				f.Expected += ", on the connection that was idle for " + pause.String()
			}
			return err
		}
		if was, is := held[i].Witness, seen.Witness; was.Boot != is.Boot || was.Remote != is.Remote {
			return &requirement.Failure{Reason: requirement.WrongPeer, From: talk.From, To: talk.To, Behind: talk.Among, Target: talk.Dial, Protocol: "tcp",
				Expected: "the endpoint that the connection was made with (" + was.Who + ")", Observed: "an answer by " + is.Who}
		}
	}
	return nil
}
