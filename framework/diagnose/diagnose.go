// Package diagnose finds the first broken hop of a path that does not work: it walks the ladder from the
// server's own loopback outwards to what the client dialled and names the nearest rung that fails.
package diagnose

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// bound is how long the whole ladder may take: a diagnosis is not worth more than the verdict.
const bound = 15 * time.Second

// rung is one hop to try.
type rung struct {
	name string
	from *requirement.End
	dial string
}

// FirstBrokenHop walks the ladder for the failure; "" where it has no path to walk.
func FirstBrokenHop(ctx context.Context, env *requirement.Env, f *requirement.Failure) string {
	if f.From == nil || (f.Reason != requirement.NoAnswer && f.Reason != requirement.Refused && f.Reason != requirement.Unreachable) {
		return ""
	}
	server := f.To
	if server == nil && len(f.Behind) > 0 {
		server = f.Behind[0]
	}
	if server == nil || server.Pod == "" || (f.Protocol != "tcp" && f.Protocol != "udp") {
		return ""
	}
	ip, ok := server.IP(env.Family)
	if !ok {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	port := env.Port(requirement.PortsEach - 1)
	opened, err := server.Listen(ctx, wire.Listen{Network: f.Protocol, Address: requirement.At(env.Any(), port)})
	if err != nil {
		return "the agent of the server does not answer: " + err.Error()
	}
	if !opened.Ok() {
		return ""
	}
	defer exchange.Release(ctx, server, opened.Handle)
	for _, r := range ladder(env, f, server, ip, port) {
		seen, err := exchange.Once(ctx, env, exchange.Talk{From: r.from, Network: f.Protocol, Dial: r.dial})
		if err != nil {
			return fmt.Sprintf("%s: the agent of %s does not answer: %v", r.name, r.from.Where(), err)
		}
		if !seen.Ok() {
			return fmt.Sprintf("%s: %s dials %s and gets %s", r.name, r.from.Where(), r.dial, seen.Errno)
		}
	}
	if f.Target != requirement.At(ip, port) && len(f.Behind) > 0 {
		return fmt.Sprintf("the Service's address %s: every hop up to its endpoint %s answers", f.Target, server.Where())
	}
	return "none up to the server's pod: only port " + portOf(f.Target) + " is affected"
}

func ladder(env *requirement.Env, f *requirement.Failure, server *requirement.End, ip netip.Addr, port int) []rung {
	dial := requirement.At(ip, port)
	rungs := []rung{
		{"loopback", server, requirement.At(env.Loopback(), port)},
		{"own pod IP", server, dial},
	}
	for _, end := range env.Cast.Ends(world.Everywhere) {
		if end.Node == server.Node && end.Pod != server.Pod {
			rungs = append(rungs, rung{"pod on the same node", end, dial})
		}
	}
	if f.From.Pod != "" && f.From.Node != server.Node {
		rungs = append(rungs, rung{"pod on another node", f.From, dial})
	}
	return rungs
}

func portOf(target string) string {
	ap, err := netip.ParseAddrPort(target)
	if err != nil {
		return target
	}
	return fmt.Sprint(ap.Port())
}
