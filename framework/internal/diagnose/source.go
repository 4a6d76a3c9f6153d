package diagnose

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/probe"
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
	if probe.Either(opened.Errno, err) != nil {
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
	seen, ok := w.count(ctx, requests, port, func(s step) []wire.Rule {
		match := wire.Rule{Proto: w.failure.Protocol, To: to.String(), ToPort: port}
		unchanged := match
		unchanged.From = from.String()
		return []wire.Rule{s.counting(match), s.counting(unchanged)}
	}, func(ctx context.Context) error {
		_, err := exchange.Once(ctx, w.env, exchange.Talk{From: w.failure.From, Network: w.failure.Protocol, Dial: requirement.At(to, port)})
		return err
	})
	if !ok {
		return ""
	}
	var all, own []uint64
	for _, step := range seen {
		all, own = append(all, step[0]), append(own, step[1])
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
