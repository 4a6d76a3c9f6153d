// Package diagnose finds the first broken hop of a path that does not work: it walks the ladder from the server's own
// loopback outwards, over the endpoint and the Service's address to DNS, names the nearest rung that fails, follows
// its packets over both nodes by counting rules, and says what those nodes' routes, neighbours, rules and counters
// have to say about it.
package diagnose

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// bound is how long the whole diagnosis may take: it is not worth more than the verdict.
const bound = 25 * time.Second

// The last two of a requirement's ports are the diagnosis's: a server's, and the source of what is followed.
const (
	serverPort = requirement.PortsEach - 1
	sourcePort = requirement.PortsEach - 2
)

// Finding is what a diagnosis came to.
type Finding struct {
	// Hop names the first broken hop and what is known of it, in one line; empty where there is no path to walk.
	Hop string
	// Seen is every step that was taken, in order, a line each.
	Seen []string
}

// walk is one diagnosis.
type walk struct {
	env     *requirement.Env
	failure *requirement.Failure
	// rules may be added to nodes: they only count and trace, and match the diagnosis's own port.
	rules bool
	seen  []string
}

func (w *walk) note(format string, args ...any) {
	w.seen = append(w.seen, fmt.Sprintf(format, args...))
}

// FirstBrokenHop walks the ladder for the failure. rules says whether counting rules may be put on the nodes.
func FirstBrokenHop(ctx context.Context, env *requirement.Env, f *requirement.Failure, rules bool) Finding {
	if f.From == nil {
		return Finding{}
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	w := &walk{env: env, failure: f, rules: rules}
	var hop string
	switch {
	case strings.HasPrefix(f.Protocol, "dns"), f.Protocol == resolvConf:
		hop = w.names(ctx)
	case f.Protocol != "tcp" && f.Protocol != "udp":
	case f.Reason == requirement.Translated:
		hop = w.translated(ctx)
	case slices.Contains([]requirement.Reason{requirement.NoAnswer, requirement.Refused, requirement.Unreachable, requirement.Broken}, f.Reason):
		hop = w.ladder(ctx)
	}
	return Finding{Hop: hop, Seen: w.seen}
}

// rung is one hop to try.
type rung struct {
	name   string
	from   *requirement.End
	dial   string
	server *requirement.End // nil: any of the failure's endpoints
}

// server is the pod that should have answered, nil where it is not known.
func (w *walk) server() *requirement.End {
	server := w.failure.To
	if server == nil && len(w.failure.Behind) > 0 {
		server = w.failure.Behind[0]
	}
	if server == nil || server.Pod == "" {
		return nil
	}
	return server
}

func (w *walk) ladder(ctx context.Context) string {
	server := w.server()
	if server == nil {
		return ""
	}
	ip, ok := server.IP(w.env.Family)
	if !ok {
		return ""
	}
	opened, err := server.Listen(ctx, wire.Listen{Network: w.failure.Protocol, Address: requirement.At(w.env.Any(), w.env.Port(serverPort))})
	if err != nil {
		return "the agent of the server does not answer: " + err.Error()
	}
	if !opened.Ok() {
		return ""
	}
	defer exchange.Release(ctx, server, opened.Handle)
	for _, r := range w.rungs(server, ip) {
		broken, err := w.try(ctx, r)
		if err != nil {
			return fmt.Sprintf("%s: the agent of %s does not answer: %v", r.name, r.from.Where(), err)
		}
		if broken != "" {
			return broken
		}
	}
	return w.beyondEveryRung(server, ip)
}

// rungs are the hops from the server outwards.
func (w *walk) rungs(server *requirement.End, ip netip.Addr) []rung {
	env, f := w.env, w.failure
	port := env.Port(serverPort)
	dial := requirement.At(ip, port)
	rungs := []rung{
		{"loopback", server, requirement.At(env.Loopback(), port), server},
		{"own pod IP", server, dial, server},
	}
	if near := env.Players.Ends(world.Everywhere); len(near) > 0 {
		for _, end := range near {
			if end.Node == server.Node && end.Pod != server.Pod {
				rungs = append(rungs, rung{"pod on the same node", end, dial, server})
			}
		}
	}
	switch {
	case f.From.Pod == "":
		return rungs // the outside has no way to a pod's own address
	case f.From.Node != server.Node:
		rungs = append(rungs, rung{"pod on another node", f.From, dial, server})
	case f.From.Pod != server.Pod:
		rungs = append(rungs, rung{"pod on the same node", f.From, dial, server})
	}
	if len(f.Behind) == 0 {
		return rungs
	}
	for _, end := range f.Behind {
		if at, ok := end.IP(env.Family); ok {
			rungs = append(rungs, rung{"endpoint", f.From, requirement.At(at, world.TargetPort), end})
		}
	}
	return append(rungs, rung{"ClusterIP", f.From, f.Target, nil})
}

// try makes one attempt; a broken rung is told with what its packets met.
func (w *walk) try(ctx context.Context, r rung) (string, error) {
	attempt := func(ctx context.Context, source string) (wire.Errno, error) {
		seen, err := exchange.Once(ctx, w.env, exchange.Talk{From: r.from, Network: w.failure.Protocol, Dial: r.dial, Source: source})
		return seen.Errno, err
	}
	got, err := attempt(ctx, "")
	if err != nil {
		return "", err
	}
	w.note("%s: %s dials %s: %s", r.name, r.from.Where(), r.dial, got)
	if got.Ok() {
		return "", nil
	}
	story := fmt.Sprintf("%s: %s dials %s%s and gets %s", r.name, r.from.Where(), r.dial, ofServer(r), got)
	if r.name == "ClusterIP" {
		story += w.fromOtherNodes(ctx, r)
	}
	if told := w.follow(ctx, w.path(ctx, r.from, r.server), func(ctx context.Context, source string) error {
		_, err := attempt(ctx, source)
		return err
	}); told != "" {
		story += "; " + told
	}
	if r.server == nil {
		story += w.conntrackEntry(ctx, r.from)
	}
	return story, nil
}

func ofServer(r rung) string {
	if r.server == nil || r.server.Pod == r.from.Pod {
		return ""
	}
	return " (" + r.server.Where() + ")"
}

// fromOtherNodes says from which nodes a Service's address does answer: one silent node is its proxy's.
func (w *walk) fromOtherNodes(ctx context.Context, r rung) string {
	var answers, silent []string
	for _, end := range w.env.Players.Ends(world.Everywhere) {
		if end.Node == r.from.Node {
			continue
		}
		seen, err := exchange.Once(ctx, w.env, exchange.Talk{From: end, Network: w.failure.Protocol, Dial: r.dial})
		if err != nil {
			continue
		}
		w.note("%s: %s dials %s: %s", r.name, end.Where(), r.dial, seen.Errno)
		if seen.Ok() {
			answers = append(answers, end.Node)
		} else {
			silent = append(silent, end.Node)
		}
	}
	switch {
	case len(answers) > 0 && len(silent) == 0:
		return fmt.Sprintf(", though its endpoints answer, and so does the address from %s: look at the service proxy of %s", strings.Join(answers, ", "), r.from.Node)
	case len(answers) > 0:
		return fmt.Sprintf(", though its endpoints answer; from %s it answers, from %s it does not", strings.Join(answers, ", "), strings.Join(silent, ", "))
	case len(silent) > 0:
		return ", though its endpoints answer, and from no other node either"
	}
	return ", though its endpoints answer"
}

// beyondEveryRung is what remains when every rung answers.
func (w *walk) beyondEveryRung(server *requirement.End, ip netip.Addr) string {
	target, err := netip.ParseAddrPort(w.failure.Target)
	switch {
	case err != nil:
		return "none now: every hop up to " + server.Where() + " answers"
	case len(w.failure.Behind) > 0:
		return fmt.Sprintf("none now: %s and every hop up to its endpoint on %s answer", w.failure.Target, server.Node)
	case target.Addr() != ip:
		return fmt.Sprintf("the address %s: every hop up to the server's own pod IP on %s answers", w.failure.Target, server.Node)
	}
	return fmt.Sprintf("none up to the server's pod: only port %d is affected", target.Port())
}
