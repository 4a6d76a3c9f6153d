package diagnose

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// few is how many attempts are made of what may work now and then: a Service chooses an endpoint each time.
const few = 8

// rung is one hop to try.
type rung struct {
	name   string
	from   *requirement.End
	dial   string
	server *requirement.End // nil: any of the endpoints
	// knock only dials: the server is nobody's of the run, and may speak anything. TCP only.
	knock bool
	tries int
}

func (r rung) connect(w *walk) wire.Connect {
	return wire.Connect{Network: w.failure.Protocol, Address: r.dial, Timeout: w.millis(), Knock: r.knock, Count: r.tries, Parallel: r.tries}
}

// ladder walks from the server outwards to what was dialled, and then asks the failing question itself.
func (w *walk) ladder(ctx context.Context) string {
	t := w.target
	server := w.server()
	var rungs []rung
	if server != nil && server.Agent != nil {
		ip, ok := server.IP(w.env.Family)
		if !ok {
			return ""
		}
		opened, err := server.Listen(ctx, wire.Listen{Network: w.failure.Protocol, Address: requirement.At(w.env.Any(), w.env.Port(serverPort))})
		switch {
		case err != nil:
			return "the agent of the server does not answer: " + err.Error()
		case !opened.Ok():
			w.note("no server could be opened in %s: %s", server.Where(), opened.Errno)
			server = nil
		default:
			defer exchange.Release(ctx, server, opened.Handle)
			rungs = w.toServer(server, ip)
		}
	}
	rungs = append(rungs, w.toTarget(t, server)...)
	if len(rungs) == 0 {
		return ""
	}
	var answered []string
	for _, r := range rungs {
		broken, err := w.try(ctx, r, t)
		if err != nil {
			return fmt.Sprintf("%s: the agent of %s does not answer: %v", r.name, r.from.Where(), err)
		}
		if broken != "" {
			return broken
		}
		if !slices.Contains(answered, r.name) {
			answered = append(answered, r.name)
		}
	}
	return w.beyond(ctx, t, server, answered)
}

// toServer are the hops from the server outwards, to a server of the diagnosis's own.
func (w *walk) toServer(server *requirement.End, ip netip.Addr) []rung {
	env, f := w.env, w.failure
	port := env.Port(serverPort)
	dial := requirement.At(ip, port)
	rungs := []rung{
		{name: "loopback", from: server, dial: requirement.At(env.Loopback(), port), server: server},
		{name: "own pod IP", from: server, dial: dial, server: server},
	}
	for _, end := range env.Players.Ends(world.Everywhere) {
		if end.Node == server.Node && end.Pod != server.Pod {
			rungs = append(rungs, rung{name: "pod on the same node", from: end, dial: dial, server: server})
		}
	}
	switch {
	case f.From.Pod == "": // the outside has no way to a pod's own address
	case f.From.Node != server.Node:
		rungs = append(rungs, rung{name: "pod on another node", from: f.From, dial: dial, server: server})
	case f.From.Pod != server.Pod:
		rungs = append(rungs, rung{name: "pod on the same node", from: f.From, dial: dial, server: server})
	}
	return rungs
}

// toTarget are the endpoints behind what was dialled, and that itself unless it is the server's own address: the check's own server
// there may be gone, and the diagnosis's stands in for it.
func (w *walk) toTarget(t target, server *requirement.End) (rungs []rung) {
	if !t.at.IsValid() {
		return nil
	}
	for _, e := range t.endpoints {
		strange := e.end.Agent == nil
		if w.failure.From.Pod == "" || strange && w.failure.Protocol == "udp" {
			continue
		}
		rungs = append(rungs, rung{name: "endpoint", from: w.failure.From, dial: e.at.String(), server: e.end, knock: strange})
	}
	if server != nil && slices.Contains(server.IPs, t.at.Addr()) && t.kind == "address" {
		return rungs
	}
	knock := slices.ContainsFunc(t.endpoints, func(e endpoint) bool { return e.end.Agent == nil }) && w.failure.Protocol == "tcp"
	return append(rungs, rung{name: t.kind, from: w.failure.From, dial: t.at.String(), knock: knock, tries: few})
}

// try asks a rung; one that is broken is told with what its packets met.
func (w *walk) try(ctx context.Context, r rung, t target) (string, error) {
	got, err := w.ask(ctx, r.from, r.connect(w))
	if err != nil {
		return "", err
	}
	var bad []wire.Exchange
	for _, seen := range got.Seen {
		if !seen.Ok() {
			bad = append(bad, seen)
		}
	}
	story := fmt.Sprintf("%s: %s dials %s%s", r.name, r.from.Where(), r.dial, ofServer(r))
	if len(bad) == 0 {
		w.note("%s: ok%s", story, ofMany("", len(got.Seen), len(got.Seen)))
		return "", nil
	}
	story += fmt.Sprintf(" and gets %s%s", bad[0].Errno, ofMany(" in", len(bad), len(got.Seen)))
	w.note("%s", story)
	if r.server == nil {
		if told := w.untranslated(ctx, t); told != "" {
			return story + ", though its endpoints answer: " + told, nil
		}
	}
	partly, err := w.partly(ctx, r, len(bad), len(got.Seen))
	if err != nil {
		return "", err
	}
	if !partly && r.server != nil && r.from == w.failure.From {
		w.nothingTo = r.server.Node
	}
	if lossy := w.lossy(ctx, r, t, partly); len(lossy) > 0 {
		return story + ", now and then; " + strings.Join(lossy, "; "), nil
	}
	if r.server == nil {
		story += w.fromOtherNodes(ctx, r, t, partly)
	}
	if told := w.follow(ctx, w.path(ctx, r.from, r.server), func(ctx context.Context, source string) error {
		once := r.connect(w)
		once.Source, once.Count = source, 1
		_, err := w.ask(ctx, r.from, once)
		return err
	}); told != "" {
		story += "; " + told
	}
	if r.server == nil {
		story += w.conntrackEntry(ctx, r.from)
	}
	return story, nil
}

// partly says whether a rung that was seen to fail answers at other times.
func (w *walk) partly(ctx context.Context, r rung, failed, of int) (bool, error) {
	if of > 1 {
		return failed < of, nil
	}
	r.tries = few
	again, err := w.ask(ctx, r.from, r.connect(w))
	if err != nil {
		return false, err
	}
	w.note("%s: asked again: ok%s", r.name, ofMany("", again.Tally[wire.OK], few))
	return again.Tally[wire.OK] > 0, nil
}

// lossy is what is lost of many exchanges over a rung that answers at times: to its server, or to each of the endpoints behind it.
func (w *walk) lossy(ctx context.Context, r rung, t target, partly bool) (told []string) {
	if !partly {
		return nil
	}
	to := w.pairs(t, w.server())
	if r.server != nil {
		to = []*requirement.End{r.server}
	}
	for _, end := range to {
		if end.Agent == nil || end == r.from {
			continue
		}
		if line := w.repeated(ctx, r.from, end); line != "" {
			told = append(told, line)
		}
	}
	return told
}

func ofMany(before string, n, of int) string {
	if of < 2 {
		return ""
	}
	return fmt.Sprintf("%s %d of %d attempts", before, n, of)
}

func ofServer(r rung) string {
	if r.server == nil || r.server.Pod == r.from.Pod {
		return ""
	}
	return " (" + r.server.Where() + ")"
}

// fromOtherNodes says from which nodes a Service's address does answer: one silent node is its proxy's.
func (w *walk) fromOtherNodes(ctx context.Context, r rung, t target, partly bool) string {
	though := ""
	if len(t.endpoints) > 0 && w.failure.From.Pod != "" {
		though = ", though its endpoints answer"
	}
	var answers, silent []string
	for _, end := range w.env.Players.Ends(world.Everywhere) {
		if end.Node == r.from.Node {
			continue
		}
		got, err := w.ask(ctx, end, r.connect(w))
		if err != nil {
			continue
		}
		ok := got.Tally[wire.OK]
		w.note("%s: %s dials %s: ok%s", r.name, end.Where(), r.dial, ofMany("", ok, len(got.Seen)))
		if ok == len(got.Seen) {
			answers = append(answers, end.Node)
		} else {
			silent = append(silent, end.Node)
		}
	}
	switch {
	case len(answers) > 0 && len(silent) == 0 && though != "" && !partly:
		w.suspect(fmt.Sprintf("the service proxy of %s: addresses of Services don't answer there that do on other nodes, and their endpoints do", r.from.Node))
		return fmt.Sprintf("%s, and so does the address from %s: look at the service proxy of %s", though, strings.Join(answers, ", "), r.from.Node)
	case len(answers) > 0:
		return fmt.Sprintf("%s; from %s it answers%s", though, strings.Join(answers, ", "), orNot(silent))
	case len(silent) > 0:
		return though + ", and from no other node either"
	}
	return though
}

func orNot(silent []string) string {
	if len(silent) == 0 {
		return ""
	}
	return ", from " + strings.Join(silent, ", ") + " it does not"
}
