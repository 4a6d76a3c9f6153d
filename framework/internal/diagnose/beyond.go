package diagnose

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// small is what every exchange carries that is asked for no size.
const small = 32

// beyond is what remains when every rung answers: the failing exchange as it was asked, its size, and how many of many are lost.
func (w *walk) beyond(ctx context.Context, t target, server *requirement.End, answered []string) string {
	looked := "each answers now: " + strings.Join(answered, ", ")
	own := server != nil && slices.Contains(server.IPs, t.at.Addr()) && t.kind == "address"
	if told := w.exact(ctx, server, own); told != "" {
		return told + "; of small messages " + looked
	}
	var lossy []string
	for _, to := range w.pairs(t, server) {
		if told := w.repeated(ctx, w.failure.From, to); told != "" {
			lossy = append(lossy, told)
		}
	}
	asked := ""
	if !own && t.at.IsValid() {
		told, whole := w.repeatedTarget(ctx, t)
		if whole {
			asked = told
		} else {
			lossy = append(lossy, told)
		}
	}
	if len(lossy) > 0 {
		return strings.Join(lossy, "; ")
	}
	told := "none now: " + looked
	if asked != "" {
		told += "; " + asked
	}
	if own && t.at.Port() != uint16(w.env.Port(serverPort)) {
		told += fmt.Sprintf("; port %d itself was not asked again: a server of the diagnosis's own at port %d was", t.at.Port(), w.env.Port(serverPort))
	}
	if ctx.Err() != nil {
		told += "; there was no time to look further"
	}
	return told
}

// pairs are the pods that the client is asked to reach often: the server, and the endpoints that have an agent.
func (w *walk) pairs(t target, server *requirement.End) (all []*requirement.End) {
	if w.failure.From.Pod == "" {
		return nil
	}
	if server != nil {
		all = append(all, server)
	}
	for _, e := range t.endpoints {
		if e.end.Agent != nil && !slices.ContainsFunc(all, func(end *requirement.End) bool { return end.Pod == e.end.Pod }) {
			all = append(all, e.end)
		}
	}
	return slices.DeleteFunc(all, func(end *requirement.End) bool { return end.Pod == w.failure.From.Pod })
}

// repeatedTarget asks what was dialled often, in the way that failed. whole is whether all went as it should.
func (w *walk) repeatedTarget(ctx context.Context, t target) (told string, whole bool) {
	c := w.question()
	c.Count, c.Parallel = often, together
	got, err := w.ask(ctx, w.failure.From, c)
	if err != nil {
		return "", true
	}
	told, whole = tell(got, fmt.Sprintf("%s %s", t.kind, c.Address), w.failure.Protocol)
	w.note("%s", told)
	return told, whole
}

// tell is what became of many exchanges. whole is whether all of them went as they should.
func tell(got wire.Connected, what, protocol string) (told string, whole bool) {
	ok, again, other := got.Tally[wire.OK], 0, changedOf(got)
	var first wire.Exchange
	for _, seen := range got.Seen {
		if seen.SYNsAgain > 0 {
			again++
		}
		if !seen.Ok() && first.Ok() {
			first = seen
		}
	}
	n := len(got.Seen)
	switch {
	case other > 0:
		return fmt.Sprintf("%s: of %d exchanges over %s %d came with other bytes than were sent", what, n, protocol, other), false
	case ok < n:
		told = fmt.Sprintf("%s: of %d exchanges over %s %d end with %s at %s", what, n, protocol, n-ok, first.Errno, first.Step)
		if again > 0 {
			told += fmt.Sprintf(", and %d need a second SYN", again)
		}
		return told, false
	case again > 0:
		return fmt.Sprintf("%s: %d of %d connections need a second SYN, so a second or more to open", what, again, n), false
	}
	return fmt.Sprintf("the same exchange with %s was asked %d times more and answered each time", what, n), true
}

// exact asks the failing exchange as it was, where that differs from a small one; one that fails is told with the size at which it
// begins to.
func (w *walk) exact(ctx context.Context, server *requirement.End, own bool) string {
	c := w.question()
	plain := wire.Connect{Network: c.Network, Address: c.Address, Timeout: c.Timeout}
	if c == plain || c.Bytes <= small && !c.HalfClose && !c.DF && !c.Unconnected {
		return ""
	}
	if own {
		address, release := w.stand(ctx, server, c)
		if release == nil {
			return ""
		}
		defer release()
		c.Address = address
	}
	c.Count, c.Parallel, c.Timeout = few, few/2, 2*c.Timeout
	got, err := w.ask(ctx, w.failure.From, c)
	if err != nil {
		return ""
	}
	told, whole := tell(got, fmt.Sprintf("the exchange as it was asked (%s) with %s", formOf(c), c.Address), c.Network)
	w.note("%s", told)
	if whole {
		return ""
	}
	if changedOf(got) > 0 && server != nil {
		return told + w.changedFrom(ctx, server, c, own)
	}
	if c.Bytes > small && server != nil && w.failure.From.Pod != "" {
		if size := w.sizes(ctx, w.failure.From, server); size != "" {
			told += "; " + size
		}
	}
	return told
}

// stand opens a server for the exchange in the pod, at the address that comes back; release is nil where that can't be.
func (w *walk) stand(ctx context.Context, server *requirement.End, c wire.Connect) (address string, release func()) {
	ip, ok := server.IP(w.env.Family)
	if !ok || server.Agent == nil {
		return "", nil
	}
	behave := ""
	if c.Digest {
		behave = "digest"
	}
	port := w.env.Port(sourcePort)
	opened, err := server.Listen(ctx, wire.Listen{Network: c.Network, Address: requirement.At(w.env.Any(), port), Behave: behave})
	if err != nil || !opened.Ok() {
		w.note("no server could be opened in %s: %s %v", server.Where(), opened.Errno, err)
		return "", nil
	}
	return requirement.At(ip, port), func() { exchange.Release(ctx, server, opened.Handle) }
}

// changedOf is how many exchanges came with other bytes than were sent.
func changedOf(got wire.Connected) (n int) {
	for _, seen := range got.Seen {
		if seen.Step == "compare" {
			n++
		}
	}
	return n
}

// changedFrom says from which nodes the exchange arrives changed when it is asked of the server itself, and from which it does not: the
// way that these have in common is where to look. standing says that c leads to a server of the diagnosis's own there already.
func (w *walk) changedFrom(ctx context.Context, server *requirement.End, c wire.Connect, standing bool) string {
	if !standing {
		address, release := w.stand(ctx, server, c)
		if release == nil {
			return ""
		}
		defer release()
		c.Address = address
	}
	var told []string
	for _, end := range w.env.Players.Ends(world.Everywhere) {
		if end.Pod == server.Pod {
			continue
		}
		got, err := w.ask(ctx, end, c)
		if err != nil || len(got.Seen) == 0 {
			continue
		}
		told = append(told, fmt.Sprintf("%d of %d from %s", changedOf(got), len(got.Seen), end.Node))
	}
	if len(told) == 0 {
		return ""
	}
	line := fmt.Sprintf("straight to %s are changed: %s", server.Where(), strings.Join(told, ", "))
	w.note("%s", line)
	return "; " + line
}

// formOf says what distinguishes an exchange from a small one.
func formOf(c wire.Connect) string {
	parts := []string{fmt.Sprintf("%d bytes", max(c.Bytes, small))}
	for _, p := range []struct {
		is   bool
		says string
	}{{c.DF, "DF"}, {c.HalfClose, "half-closed"}, {c.Unconnected, "unconnected socket"}} {
		if p.is {
			parts = append(parts, p.says)
		}
	}
	return strings.Join(parts, ", ")
}
