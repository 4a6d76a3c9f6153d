package diagnose

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// translated says where on the way a client's own address was still there last.
func (w *walk) translated(ctx context.Context) string {
	server := w.server()
	if server == nil || !w.rules {
		return ""
	}
	to, ok := server.IP(w.env.Family)
	from, okFrom := w.failure.From.IP(w.env.Family)
	if !ok || !okFrom {
		return ""
	}
	port := w.env.Port(serverPort)
	opened, err := server.Listen(ctx, wire.Listen{Network: w.failure.Protocol, Address: requirement.At(w.env.Any(), port)})
	if either(opened.Errno, err) != nil {
		return ""
	}
	defer exchange.Release(ctx, server, opened.Handle)
	p := w.path(ctx, w.failure.From, server)
	if p == nil {
		return ""
	}
	requests := &way{places: p.places}
	for _, s := range p.steps {
		if !s.answer {
			requests.steps = append(requests.steps, s)
		}
	}
	own, all := make([]uint64, len(requests.steps)), make([]uint64, len(requests.steps))
	table := w.env.Cast.Plan().Prefix + "-follow-" + fmt.Sprint(port)
	for i, at := range requests.places {
		var rules []wire.Rule
		for _, s := range requests.steps {
			if s.place != i {
				continue
			}
			r := wire.Rule{Hook: s.hook, Proto: w.failure.Protocol, Priority: last, To: to.String(), ToPort: port, Do: "count"}
			if s.hook == "prerouting" || s.hook == "output" {
				r.Priority = first
			}
			rules = append(rules, r)
			r.From = from.String()
			rules = append(rules, r)
		}
		if len(rules) == 0 {
			continue
		}
		seen, err := at.agent.Filter(ctx, wire.Filter{Do: "add", Table: table, Netns: at.netns, Rules: rules})
		if either(seen.Errno, err) != nil {
			continue
		}
		defer w.remove(ctx, at, table)
	}
	if _, err := exchange.Once(ctx, w.env, exchange.Talk{From: w.failure.From, Network: w.failure.Protocol, Dial: requirement.At(to, port)}); err != nil {
		return ""
	}
	for i, at := range requests.places {
		seen, err := at.agent.Filter(ctx, wire.Filter{Do: "read", Table: table, Netns: at.netns})
		if either(seen.Errno, err) != nil {
			continue
		}
		k := 0
		for n, s := range requests.steps {
			if s.place == i && k+1 < len(seen.Packets) {
				all[n], own[n] = seen.Packets[k], seen.Packets[k+1]
				k += 2
			}
		}
	}
	return rewritten(requests, from.String(), own, all, w.note)
}

// rewritten names the first step whose packets do not have the client's own address any more.
func rewritten(p *way, from string, own, all []uint64, note func(string, ...any)) string {
	before := ""
	for i, s := range p.steps {
		note("request %s: %d packets, %d of them from %s", s.words, all[i], own[i], from)
		switch {
		case all[i] > 0 && own[i] == 0:
			return fmt.Sprintf("the client's own address %s is gone when the request %s%s", from, s.words, before)
		case own[i] > 0:
			before = ", and still there when it " + s.words
		}
	}
	return ""
}
