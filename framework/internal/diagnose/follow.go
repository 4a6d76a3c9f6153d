package diagnose

import (
	"context"
	"fmt"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/probe"
)

// count puts rules into every place of the way, makes the attempt, and gives by step the packets that each of its rules
// met, in their order. ok is false where nothing can be said.
func (w *walk) count(ctx context.Context, p *way, port int, rulesOf func(step) []wire.Rule, attempt func(context.Context) error) (seen [][]uint64, ok bool) {
	table := w.env.World.Prefix + "-follow-" + fmt.Sprint(port)
	for i, at := range p.places {
		var rules []wire.Rule
		for _, s := range p.steps {
			if s.place == i {
				rules = append(rules, rulesOf(s)...)
			}
		}
		if len(rules) == 0 {
			continue
		}
		added, err := at.agent.Filter(ctx, wire.Filter{Do: "add", Table: table, Netns: at.netns, Rules: rules})
		if err := probe.Either(added.Errno, err); err != nil {
			w.note("nothing could be counted in %s: %v", at.name, err)
			return nil, false
		}
		defer w.remove(ctx, at, table)
	}
	if attempt(ctx) != nil {
		return nil, false
	}
	seen = make([][]uint64, len(p.steps))
	for i, at := range p.places {
		read, err := at.agent.Filter(ctx, wire.Filter{Do: "read", Table: table, Netns: at.netns})
		k := 0
		for n, s := range p.steps {
			if s.place != i {
				continue
			}
			seen[n] = make([]uint64, len(rulesOf(s)))
			if probe.Either(read.Errno, err) == nil && k < len(read.Packets) {
				copy(seen[n], read.Packets[k:])
			}
			k += len(seen[n])
		}
	}
	return seen, true
}

// follow counts the packets of one more attempt at each step and says where they were lost; "" where that can't be
// said.
func (w *walk) follow(ctx context.Context, p *way, attempt func(ctx context.Context, source string) error) string {
	if p == nil {
		return ""
	}
	port := w.env.Port(sourcePort)
	before := w.counters(ctx, p)
	if !w.rules {
		if attempt(ctx, "") != nil {
			return ""
		}
		return w.grown(ctx, p, before)
	}
	counts, drops, ok := w.countTraced(ctx, p, port, func(answer bool) wire.Rule { // requests come from the client's port, answers go to it
		if answer {
			return wire.Rule{Proto: w.transport(), ToPort: port}
		}
		return wire.Rule{Proto: w.transport(), FromPort: port}
	}, func(ctx context.Context) error { return attempt(ctx, fmt.Sprintf(":%d", port)) })
	if !ok {
		return ""
	}
	for i, s := range p.steps {
		w.note("%s %s: %s", direction(s), s.words, packets(counts[i]))
	}
	culprits := w.culprits(ctx, p, drops)
	lost := locate(p, counts)
	if len(culprits) == 0 && lost >= 0 {
		culprits = w.legacy(ctx, p.places[p.steps[lost].place], attempt, port)
	}
	for _, line := range culprits {
		w.note("%s", line)
	}
	told := whereLost(p, lost, counts, culprits)
	if told == "" { // it came back to the client's own namespace, where the kernel may discard it
		return w.grown(ctx, p, before)
	}
	w.blameFirst(culprits)
	told += w.facts(ctx, p, lost)
	if grown := w.grown(ctx, p, before); grown != "" {
		told += "; " + grown
	}
	return told
}

// countTraced counts at each step what matches, requests or answers, while it is attempted, and gives the rules that drop some of it, by
// place; ok is false where that can't be counted.
func (w *walk) countTraced(ctx context.Context, p *way, port int, match func(answer bool) wire.Rule, attempt func(context.Context) error) (counts []uint64, drops [][]wire.Drop, ok bool) {
	drops = make([][]wire.Drop, len(p.places))
	seen, ok := w.count(ctx, p, port, func(s step) []wire.Rule {
		count := s.counting(match(s.answer))
		if !s.comesIn() {
			return []wire.Rule{count}
		}
		trace := count
		trace.Do = "trace"
		return []wire.Rule{count, trace}
	}, func(ctx context.Context) error {
		stop := w.trace(ctx, p)
		err := attempt(ctx)
		drops = stop(ctx)
		return err
	})
	if !ok {
		return nil, nil, false
	}
	for i := range seen {
		counts = append(counts, seen[i][0])
	}
	return counts, drops, true
}

// trace listens in every place for rules that drop traced packets; stop ends that and gives what was heard, by place.
func (w *walk) trace(ctx context.Context, p *way) (stop func(context.Context) [][]wire.Drop) {
	handles := make([]string, len(p.places))
	for i, at := range p.places {
		if traced, err := at.agent.Trace(ctx, wire.Trace{Do: "start", Netns: at.netns}); probe.Either(traced.Errno, err) == nil {
			handles[i] = traced.Handle
		}
	}
	return func(ctx context.Context) [][]wire.Drop {
		drops := make([][]wire.Drop, len(p.places))
		for i, at := range p.places {
			if handles[i] == "" {
				continue
			}
			if traced, err := at.agent.Trace(ctx, wire.Trace{Do: "stop", Handle: handles[i]}); err == nil {
				drops[i] = traced.Drops
			}
		}
		return drops
	}
}

// remove takes the counting rules away, also after the diagnosis's own time.
func (w *walk) remove(ctx context.Context, at place, table string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoBound)
	defer cancel()
	gone, err := at.agent.Filter(ctx, wire.Filter{Do: "remove", Table: table, Netns: at.netns})
	if err := probe.Either(gone.Errno, err); err != nil {
		w.note("the counting rules in %s could not be removed and end with its agent: %v", at.name, err)
	}
}

// transport is what the failure's packets are.
func (w *walk) transport() string {
	if w.failure.Protocol == "tcp" {
		return "tcp"
	}
	return "udp" // DNS too
}

// locate is the last step at which packets were seen, -1 where at none. Steps without packets before it belong to a
// data path that passes that hook by (a bridge, eBPF), and prove nothing.
func locate(p *way, counts []uint64) int {
	for i := len(p.steps) - 1; i >= 0; i-- {
		if counts[i] > 0 {
			return i
		}
	}
	return -1
}

// whereLost says where the packets were seen last, and what dropped them.
func whereLost(p *way, at int, counts []uint64, culprits []string) string {
	culprit := ""
	if len(culprits) > 0 {
		culprit = "; " + strings.Join(culprits, "; ")
	}
	switch {
	case len(p.steps) == 0 || at == len(p.steps)-1 && p.steps[at].answer:
		return strings.TrimPrefix(culprit, "; ")
	case at == len(p.steps)-1:
		return fmt.Sprintf("the request %s (%s)", p.steps[at].words, packets(counts[at])) + culprit
	case at < 0:
		return "no packet of it was seen at all" + culprit
	}
	seen, next := p.steps[at], p.steps[at+1]
	if seen.answer != next.answer {
		return fmt.Sprintf("the request %s (%s) and nothing answers there", seen.words, packets(counts[at])) + culprit
	}
	if seen.hook == "postrouting" && seen.place != next.place {
		return fmt.Sprintf("the %s %s (%s) and is lost before it %s", direction(seen), seen.words, packets(counts[at]), next.words) + culprit
	}
	return fmt.Sprintf("the %s %s (%s) and is lost there: it never %s", direction(seen), seen.words, packets(counts[at]), next.words) + culprit
}

func packets(n uint64) string {
	if n == 1 {
		return "1 packet"
	}
	return fmt.Sprintf("%d packets", n)
}

func direction(s step) string {
	if s.answer {
		return "answer"
	}
	return "request"
}

func dropped(d wire.Drop) string {
	what := fmt.Sprintf("rule %d of the nftables chain %s %s %s", d.Rule, d.Family, d.Table, d.Chain)
	if d.Rule == 0 {
		what = fmt.Sprintf("the policy of the nftables chain %s %s %s", d.Family, d.Table, d.Chain)
	}
	return what + " drops it"
}
