package pod

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// transferBytes go each way: enough to fill every queue on the way and to use offloads.
const transferBytes = 64 << 20

// peersOf are the pods on the same node and, where there is one, on another.
func peersOf(env *requirement.Env) []*requirement.End {
	peers := []*requirement.End{env.Role(world.Near)}
	if far := env.Roles(world.Far); len(far) > 0 {
		return append(peers, far[0])
	}
	env.Note("judged on one node only: the cluster has no other that takes pods")
	return peers
}

func largeTransfer() requirement.Requirement {
	return requirement.Requirement{
		ID:     "pod/large-transfer",
		Title:  "64 MiB over one TCP connection, or what a slow path carries in 20 seconds, arrive unchanged, each way, on one node and across nodes.",
		Level:  requirement.Must,
		Clause: networkModel,
		Why: "TCP's checksum has 16 bits, and offloads compute it after the damage: broken checksum offload on a tunnel and middleboxes " +
			"that rewrite have corrupted real data while every small request worked. Stalls show only once windows are full, too. A transfer runs " +
			"to its end, is made once, and its failure says how many of its pieces arrived changed. How fast it is is noted; nothing at all that " +
			"passes for 10 seconds is a stall.",
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.Near},
		Wants:     []world.Role{world.Far},
		PerFamily: true,
		Check:     checkTransfer,
		Control: requirement.Control{
			Says:  "a relay before the server that flips a byte of each MiB",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.FlippingRelay(world.Near, 0)}},
			Red:   []requirement.Reason{requirement.Broken},
		},
		MoreControls: []requirement.Control{
			{Says: "a relay in the other direction that flips a byte of each MiB",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.FlippingRelay(world.SiblingA, 1)}},
				Red:   []requirement.Reason{requirement.Broken}},
			{Says: "a relay on another node that flips a byte of each MiB",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.FlippingRelay(world.Far, 2)}},
				Red:   []requirement.Reason{requirement.Broken}, Wants: []world.Role{world.Far}},
		},
	}
}

func checkTransfer(ctx context.Context, env *requirement.Env) error {
	a := env.Role(world.SiblingA)
	port := 0
	for _, peer := range peersOf(env) {
		group, ctx := errgroup.WithContext(ctx)
		for _, way := range []struct{ from, to *requirement.End }{{a, peer}, {peer, a}} {
			ip, err := env.IP(way.to)
			if err != nil {
				return err
			}
			own := env.Port(port)
			port++
			group.Go(func() error {
				done, err := exchange.Transfer(ctx, env, exchange.Talk{From: way.from, To: way.to, Network: "tcp", Bind: requirement.At(env.Any(), own),
					Dial: requirement.At(ip, own), Digest: true}, transferBytes)
				if err == nil {
					env.Note("%s: %s to %s: %s", env.Family, way.from.Where(), way.to.Where(), done)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func halfClose() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/half-close",
		Title: "When a client has closed its direction of a TCP connection, the server's answer still reaches it.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://www.rfc-editor.org/rfc/rfc9293#section-3.6",
			Says: "Closing means \"I have no more data to send\": the side that closed goes on receiving until the other closes too.",
		},
		Why: "Database dumps, rsh-like protocols and many proxies end a request so. Middleboxes and sidecars that take a FIN for the end " +
			"of the whole connection cut the answer off.",
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.Near},
		Wants:     []world.Role{world.Far},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, peer := range peersOf(env) {
				ip, err := env.IP(peer)
				if err != nil {
					return err
				}
				if _, err := exchange.Works(ctx, env, exchange.Talk{From: env.Role(world.SiblingA), To: peer, Network: "tcp",
					Bind: requirement.At(env.Any(), env.Port(0)), Dial: requirement.At(ip, env.Port(0)), Behave: "answer-after-fin", HalfClose: true,
				}); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "each FIN answered by a reset",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Near, fault.ResetFIN()),
			}},
			Red: []requirement.Reason{requirement.Broken},
		},
		MoreControls: []requirement.Control{{
			Says:  "each FIN on another node answered by a reset",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Far, fault.ResetFIN())}},
			Red:   []requirement.Reason{requirement.Broken}, Wants: []world.Role{world.Far},
		}},
	}
}

// connections are open at once in many-connections; the limit of its control is far below.
const (
	connections     = 1000
	connectionLimit = 100
	connectWithin   = 10 * time.Second
)

func manyConnections() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/many-connections",
		Title: "One pod serves 1,000 connections of another that are open at once.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/#the-kubernetes-network-model",
			Says: "Pods reach each other directly, as hosts do; no limit to the number of connections is named, and a thousand is " +
				"what one busy backend has.",
		},
		Why: "Small connection tracking tables, connection limits of firewalls and proxies, and short accept queues show only here. What " +
			"one pod opens is far below the kernel's defaults.",
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.Near},
		Wants:     []world.Role{world.Far},
		PerFamily: true,
		Check:     checkManyConnections,
		Control: requirement.Control{
			Says: fmt.Sprintf("connections over %d reset", connectionLimit),
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.SiblingA, fault.RefuseConnectionsOver(connectionLimit)),
			}},
			Red: []requirement.Reason{requirement.Refused, requirement.Broken},
		},
	}
}

func checkManyConnections(ctx context.Context, env *requirement.Env) error {
	server := env.Role(world.SiblingA)
	peers := peersOf(env)
	client := peers[len(peers)-1]
	ip, err := env.IP(server)
	if err != nil {
		return err
	}
	opened, err := server.Listen(ctx, wire.Listen{Network: "tcp", Address: requirement.At(env.Any(), env.Port(0))})
	if err != nil {
		return fmt.Errorf("opening a server in %s: %w", server, err)
	}
	if !opened.Ok() {
		return fmt.Errorf("%s cannot open a server: %s", server, opened.Errno)
	}
	defer exchange.Release(ctx, server, opened.Handle)
	who, err := server.Hostname(ctx)
	if err != nil {
		return err
	}
	target := requirement.At(ip, env.Port(0))
	return env.Until(ctx, func(ctx context.Context) error {
		got, err := client.Connect(ctx, wire.Connect{Network: "tcp", Address: target, Count: connections, Parallel: 100, Together: true,
			Timeout: int(connectWithin / time.Millisecond)})
		if err != nil {
			return fmt.Errorf("asking %s for %d connections: %w", client, connections, err)
		}
		served := got.Peers[who]
		if served == connections && got.Tally[wire.OK] == connections {
			env.Note("%s: all opened, served and closed in %s", env.Family, (time.Duration(got.Took) * time.Microsecond).Round(time.Millisecond))
			return nil
		}
		reason, first := requirement.WrongPeer, wire.Exchange{}
		for _, seen := range got.Seen {
			if !seen.Ok() {
				reason, first = requirement.ReasonOf(seen.Errno), seen
				break
			}
		}
		f := &requirement.Failure{Reason: reason, From: client, To: server, Target: target, Protocol: "tcp",
			Expected: fmt.Sprintf("%d connections at once, all served", connections),
			Observed: fmt.Sprintf("%d served; the first that was not: %s at %s", served, first.Errno, first.Step),
			Again:    "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max   (on both nodes)"}
		if got.Changed > 0 {
			f.Reason, f.Final, f.Observed = requirement.Broken, requirement.ChangedIsFinal, fmt.Sprintf("%d that got other bytes back", got.Changed)
		}
		return f
	})
}
