package diagnose

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// podsAsked is how many DNS pods are asked the failing question.
	podsAsked = 8
	// questionsAtOnce is how many questions are under way at a time: those that get no answer take their time side by side.
	questionsAtOnce = 16
)

// ways are how the failing question is asked: as small as can be, as large as crosses any network whole, larger, and over TCP.
func ways() []wire.DNS {
	return []wire.DNS{smallUDP: {}, wholeUDP: {EDNS: 1232}, largeUDP: {EDNS: 4096}, overTCP: {TCP: true}}
}

const (
	smallUDP = iota
	wholeUDP
	largeUDP
	overTCP
	countWays
)

// heard are the answers to one question: by asker, by server (the DNS pods, and last the asker's own nameserver), by way.
type heard struct {
	question wire.DNS
	askers   []string // nodes; the first is the failure's
	servers  []string
	answers  [][][countWays]wire.DNSAnswer
	repeated int  // how many questions were answered only when they were asked again
	wrong    bool // the failure is an answer with other records than due, not the lack of one
}

// attempts is how often a question is asked that gets no answer: one lost packet is not what is looked for.
const attempts = 3

// failingQuestion asks the question that failed of each DNS pod and of the nameserver, by UDP and TCP, small and large, from the
// asker's node and from another, and says what tells the answers apart.
func (w *walk) failingQuestion(ctx context.Context, pods []dnsPod, known wire.DNS) string {
	pods = pods[:min(len(pods), podsAsked)]
	q, ok := w.wholeQuestion(ctx, pods)
	if !ok {
		return fmt.Sprintf("DNS: every DNS pod and the nameserver answer %s for %s; which question failed is not known", w.failure.From.Where(), known.Name)
	}
	askers := []*requirement.End{w.failure.From}
	for _, end := range w.env.Players.Ends(world.Everywhere) {
		if end.Node != w.failure.From.Node {
			askers = append(askers, end)
			break
		}
	}
	h, err := w.hear(ctx, q, askers, pods)
	if err != nil {
		return "an agent that asks does not answer: " + err.Error()
	}
	found := h.tell()
	switch {
	case found.behind >= 0:
		log := w.logOfWatches(ctx, pods[found.behind])
		found.text += log
		w.blame(fmt.Sprintf("the DNS pod %s answers otherwise than the others%s", pods[found.behind], log))
	case found.lost != nil:
		at := found.lost
		again := ways()[at.way]
		again.Name, again.Type, again.Server = q.Name, q.Type, pods[at.server].address
		found.text += w.followQuestion(ctx, askers[at.asker], pods[at.server].end(), again)
	case w.failure.Reason == requirement.NoAnswer:
		if told := w.questionRepeated(ctx, pods, q); told != "" {
			found.text = told + "; asked once, " + strings.TrimPrefix(found.text, noneNow)
		}
	}
	return "DNS: " + found.text
}

// hear asks everything, side by side.
func (w *walk) hear(ctx context.Context, q wire.DNS, askers []*requirement.End, pods []dnsPod) (*heard, error) {
	h := &heard{question: q, answers: make([][][countWays]wire.DNSAnswer, len(askers)), wrong: w.failure.Reason == requirement.WrongRecord}
	var repeated atomic.Int64
	var servers []string
	for _, p := range pods {
		h.servers, servers = append(h.servers, "the DNS pod "+p.String()), append(servers, p.address)
	}
	h.servers, servers = append(h.servers, "the nameserver"), append(servers, "")
	var group errgroup.Group
	group.SetLimit(questionsAtOnce)
	for a, end := range askers {
		h.askers = append(h.askers, end.Node)
		h.answers[a] = make([][countWays]wire.DNSAnswer, len(servers))
		for s, server := range servers {
			for way, one := range ways() {
				one.Name, one.Type, one.Server = q.Name, q.Type, server
				group.Go(func() (err error) {
					answer := &h.answers[a][s][way]
					for n := 0; n < attempts && answer.Rcode == "" && err == nil; n++ {
						if *answer, err = w.askName(ctx, end, one); n > 0 && answer.Rcode != "" {
							repeated.Add(1)
						}
					}
					return err
				})
			}
		}
	}
	err := group.Wait()
	if err != nil {
		return nil, err
	}
	h.repeated = int(repeated.Load())
	if own := h.answers[0][len(servers)-1][smallUDP].Server; own != "" {
		h.servers[len(servers)-1] = "the nameserver " + host(own)
	}
	for a, node := range h.askers {
		for s, server := range h.servers {
			for way, got := range h.answers[a][s] {
				w.note("DNS: %s asks %s for %s %s %s: %s, %d bytes", node, server, q.Type, q.Name, wayWords(way), says(got), got.Length)
			}
		}
	}
	return h, nil
}

func wayWords(way int) string {
	return [countWays]string{"over UDP", "over UDP with EDNS of 1232 bytes", "over UDP with EDNS of 4096 bytes", "over TCP"}[way]
}

func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}

// wholeQuestion is the question that failed, with its full name: of a name that the search list completes, the completion within the
// cluster domain that a DNS pod has an answer to, or else the first. ok is false where the failure does not tell the question.
func (w *walk) wholeQuestion(ctx context.Context, pods []dnsPod) (q wire.DNS, ok bool) {
	f := w.failure
	if f.Question != nil {
		q = wire.DNS{Name: f.Question.Name, Type: f.Question.Type}
	} else if _, record, found := strings.Cut(f.Protocol, " "); found && strings.HasSuffix(f.Target, ".") {
		q = wire.DNS{Name: f.Target, Type: strings.TrimSuffix(record, " over tcp")}
	}
	if q.Name == "" || dns.StringToType[q.Type] == 0 && !strings.Contains(q.Type, "+") {
		return q, false
	}
	if strings.HasSuffix(q.Name, ".") {
		return q, true
	}
	names := w.completions(ctx, q.Name)
	for _, name := range names {
		q.Name = name
		for _, pod := range pods {
			q.Server = pod.address
			if got, err := w.askName(ctx, f.From, q); err == nil && got.Ok() && len(got.Answers) > 0 {
				return wire.DNS{Name: name, Type: q.Type}, true
			}
		}
	}
	if len(names) == 0 {
		return q, false
	}
	return wire.DNS{Name: names[0], Type: q.Type}, true
}

// completions are the names within the cluster domain that the asker's search list makes of a name.
func (w *walk) completions(ctx context.Context, name string) (all []string) {
	got, err := w.failure.From.File(ctx, wire.File{Do: "read", Path: "/etc/resolv.conf"})
	if err != nil || !got.Ok() {
		return nil
	}
	c, err := dns.ClientConfigFromReader(strings.NewReader(string(got.Data)))
	if err != nil {
		return nil
	}
	domain := dns.CanonicalName(w.env.World.Domain)
	for _, full := range c.NameList(name) {
		if dns.IsSubDomain(domain, dns.CanonicalName(full)) {
			all = append(all, full)
		}
	}
	return all
}
