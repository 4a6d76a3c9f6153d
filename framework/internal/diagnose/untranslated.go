package diagnose

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// untranslated says that the answer to what was dialled comes from another address: an endpoint's own, which nobody translated back,
// so that the client's kernel takes it for a stranger's. By UDP any socket that is not connected sees it; by TCP only a counting rule
// does. "" where it was not seen.
func (w *walk) untranslated(ctx context.Context, t target) string {
	if !t.at.IsValid() || len(t.endpoints) == 0 {
		return ""
	}
	from, protocol := w.strangeAnswer(ctx, t), "udp"
	if from == nil && w.failure.Protocol == "tcp" {
		from, protocol = w.strangeSYN(ctx, t), "tcp"
	}
	if from == nil {
		return ""
	}
	where := ""
	if from.end.Node == w.failure.From.Node && from.end.Node != "" {
		filter := w.bridgeFilter(ctx, from.end.Node)
		where = fmt.Sprintf(" Client and endpoint are both on %s%s.", from.end.Node, filter)
		w.blame(fmt.Sprintf("answers through Services are not translated back where client and endpoint are both on %s%s", from.end.Node, filter))
	}
	told := fmt.Sprintf("the answer comes from the endpoint's own address %s (%s) instead of %s: it is not translated back%s.%s",
		from.at, from.end.Where(), t.at, over(protocol, w.failure.Protocol), where)
	told = strings.TrimSuffix(told, ".")
	w.note("%s", told)
	return told
}

func over(seen, asked string) string {
	if seen == asked {
		return ""
	}
	return " (seen over " + strings.ToUpper(seen) + ")"
}

// strangeAnswer asks by UDP with a socket that hears anyone, and gives the endpoint that answered by its own address.
func (w *walk) strangeAnswer(ctx context.Context, t target) *endpoint {
	dial := t.at.String()
	if w.failure.Protocol != "udp" {
		dial = t.udp
	}
	if dial == "" {
		return nil
	}
	got, err := w.ask(ctx, w.failure.From, wire.Connect{Network: "udp", Address: dial, Unconnected: true, Count: few, Parallel: few, Timeout: w.millis()})
	if err != nil {
		return nil
	}
	for _, seen := range got.Seen {
		if !seen.Ok() || seen.Remote == dial {
			continue
		}
		w.note("%s asks %s by UDP with a socket that hears anyone, and hears %s", w.failure.From.Where(), dial, seen.Remote)
		for i, e := range t.endpoints {
			if strings.HasPrefix(seen.Remote, e.at.Addr().String()+":") || strings.HasPrefix(seen.Remote, "["+e.at.Addr().String()+"]:") {
				return &t.endpoints[i]
			}
		}
	}
	return nil
}

// strangeSYN dials by TCP from the diagnosis's own port and counts in the client's network namespace whose SYN-ACKs come in for it:
// the endpoint whose do, by its own address.
func (w *walk) strangeSYN(ctx context.Context, t target) *endpoint {
	p := w.path(ctx, w.failure.From, nil)
	if p == nil || !w.rules {
		return nil
	}
	own := p.places[0]
	for _, at := range p.places {
		if at.netns != 0 {
			own = at
		}
	}
	come := &way{places: []place{own}, steps: []step{{place: 0, hook: "prerouting", answer: true, words: "reaches " + own.name}}}
	for range few {
		seen, ok := w.count(ctx, come, w.env.Port(sourcePort), func(s step) (rules []wire.Rule) {
			for _, e := range t.endpoints {
				rules = append(rules, s.counting(wire.Rule{Proto: "tcp", From: e.at.Addr().String(), FromPort: int(e.at.Port()), ToPort: w.env.Port(sourcePort)}))
			}
			return rules
		}, func(ctx context.Context) error {
			_, err := w.ask(ctx, w.failure.From, wire.Connect{Network: "tcp", Address: t.at.String(), Source: fmt.Sprintf(":%d", w.env.Port(sourcePort)),
				Timeout: min(w.millis(), firstAnswer), Knock: true})
			return err
		})
		if !ok {
			return nil
		}
		if i := slices.IndexFunc(seen[0], func(n uint64) bool { return n > 0 }); i >= 0 {
			return &t.endpoints[i]
		}
	}
	return nil
}

// firstAnswer is how long one SYN's answer is waited for, in milliseconds: less than its first retransmission.
const firstAnswer = 700

// bridgeFilter says what a node's bridges do with what they carry, where that is off: the answer of a pod to its neighbour then never
// meets connection tracking.
func (w *walk) bridgeFilter(ctx context.Context, node string) string {
	name := "bridge-nf-call-iptables"
	if w.env.Loopback().Is6() {
		name = "bridge-nf-call-ip6tables"
	}
	if agent := w.nodeAgent(node); agent != nil {
		if got, err := agent.File(ctx, wire.File{Do: "read", Path: "/proc/sys/net/bridge/" + name}); err == nil && got.Ok() && strings.TrimSpace(string(got.Data)) == "0" {
			return ", whose net.bridge." + name + " is 0: what its bridges carry is not translated"
		}
	}
	return ", where what they send each other must pass connection tracking (bridge-nf-call-iptables, no notrack rule)"
}

// shares says who answered how often.
func shares(peers map[string]int) string {
	var parts []string
	for who, n := range peers {
		parts = append(parts, fmt.Sprintf("%s %d times", who, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// nodeAgent is the agent in the node's own namespaces, nil where there is none.
func (w *walk) nodeAgent(node string) *requirement.End {
	for _, agent := range w.env.Players.Ends(world.Node) {
		if agent.Node == node {
			return agent
		}
	}
	return nil
}
