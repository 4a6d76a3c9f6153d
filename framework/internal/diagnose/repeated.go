package diagnose

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

// often is how many exchanges are made of a path that works: one that loses one packet in ten each way passes 50 whole in one of 200
// cases by UDP, one that loses one in a hundred in six of ten. together is how many are open at once.
const (
	often    = 50
	together = 25
)

// repeated makes many exchanges from one end to another, and says how many were lost each way and where, and how many connections
// needed a second SYN; "" where all went as they should.
func (w *walk) repeated(ctx context.Context, from, to *requirement.End) string {
	protocol := w.failure.Protocol
	question := wire.Connect{Network: protocol, Count: often, Parallel: together, Timeout: w.millis()}
	address, release := w.stand(ctx, to, question)
	if release == nil {
		return ""
	}
	defer release()
	question.Address = address
	var got wire.Connected
	attempt := func(ctx context.Context) (err error) {
		got, err = w.ask(ctx, from, question)
		return err
	}
	what := fmt.Sprintf("%s to %s", from.Where(), to.Where())
	p := w.path(ctx, from, to)
	if p == nil || !w.rules {
		if attempt(ctx) != nil {
			return ""
		}
		told, whole := tell(got, what, protocol)
		w.note("%s", told)
		if whole {
			return ""
		}
		return told + " (which way they are lost was not looked at: no counting rules are put on this cluster)"
	}
	counts, culprits, ok := w.countMany(ctx, p, w.env.Port(sourcePort), attempt)
	if !ok {
		return ""
	}
	told, whole := tell(got, what, protocol)
	w.note("%s", told)
	unit := "packets"
	if protocol == "tcp" {
		unit = "SYNs"
	}
	lost := w.losses(p, counts, from.Where(), to.Where(), unit, unit)
	if whole {
		return "" // what was lost of other exchanges' packets is not this one's
	}
	w.blameFirst(culprits)
	return strings.Join(slices.Concat([]string{told}, lost, culprits), "; ")
}

// losses are how many requests were lost on the way from one end to another, and how many answers on the way back, a sentence each.
func (w *walk) losses(p *way, counts []uint64, from, to, requests, answers string) []string {
	forth, back := lossOf(p, counts, false), lossOf(p, counts, true)
	for _, l := range []loss{forth, back} {
		w.note("%s: %d of %d lost %s", l.direction, l.lost, l.of, l.where)
	}
	return []string{forth.says(from, to, requests), back.says(to, from, answers)}
}

// countMany counts the exchanges' packets with the server's port at each step, of TCP the SYNs alone, and gives the rules that drop some.
func (w *walk) countMany(ctx context.Context, p *way, port int, attempt func(context.Context) error) (counts []uint64, culprits []string, ok bool) {
	flags := ""
	if w.failure.Protocol == "tcp" {
		flags = "syn"
	}
	counts, drops, ok := w.countTraced(ctx, p, port, func(answer bool) wire.Rule {
		if answer {
			return wire.Rule{Proto: w.transport(), FromPort: port, Flags: flags}
		}
		return wire.Rule{Proto: w.transport(), ToPort: port, Flags: flags}
	}, attempt)
	if !ok {
		return nil, nil, false
	}
	return counts, w.culprits(ctx, p, drops), true
}

// blameFirst blames the first of the culprits, where there are any.
func (w *walk) blameFirst(culprits []string) {
	if len(culprits) > 0 {
		w.blame(culprits[0])
	}
}

// culprits are the drops in words, with the rules' own text.
func (w *walk) culprits(ctx context.Context, p *way, drops [][]wire.Drop) (told []string) {
	for i, at := range p.places {
		for _, d := range drops[i] {
			told = append(told, at.name+": "+dropped(d)+w.quote(ctx, at, d))
		}
	}
	return told
}

// loss is how many packets of one direction were lost.
type loss struct {
	direction string
	lost, of  uint64
	where     string
}

// lossOf compares what was sent with what came through, at the steps at which anything was seen: a data path may pass hooks by, or
// have a packet pass one twice.
func lossOf(p *way, counts []uint64, answer bool) loss {
	l := loss{direction: "request"}
	if answer {
		l.direction = "answer"
	}
	var seen []int
	for i, s := range p.steps {
		if s.answer == answer && counts[i] > 0 {
			seen = append(seen, i)
		}
	}
	if len(seen) == 0 {
		return l
	}
	l.of = counts[seen[0]]
	last := counts[seen[len(seen)-1]]
	if last >= l.of {
		return l
	}
	l.lost = l.of - last
	// The first step from which on fewer are seen than were sent.
	at := slices.IndexFunc(seen, func(i int) bool {
		return !slices.ContainsFunc(seen, func(later int) bool { return later >= i && counts[later] >= l.of })
	})
	before, after := seen[at-1], seen[at]
	a, b := p.steps[before], p.steps[after]
	where := "on " + p.places[a.place].name
	if a.place != b.place {
		where = fmt.Sprintf("between %s and %s", p.places[a.place].name, p.places[b.place].name)
	}
	l.where = fmt.Sprintf("%s (%d: %s; %d: %s)", where, counts[before], a.words, counts[after], b.words)
	return l
}

func (l loss) says(from, to, unit string) string {
	told := fmt.Sprintf("from %s to %s %d of %d %s are lost", from, to, l.lost, l.of, unit)
	if l.where != "" {
		told += " " + l.where
	}
	return told
}
