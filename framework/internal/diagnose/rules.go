package diagnose

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/probe"
)

// mostPrinted bounds what a node's tool may print for a diagnosis.
const mostPrinted = 16 << 20

// quote is the text of a rule, by the node's own nft where it has one and the place is the node itself.
func (w *walk) quote(ctx context.Context, at place, d wire.Drop) string {
	if at.netns != 0 || d.Rule == 0 {
		return ""
	}
	text, err := probe.Output(ctx, w.env.Players.Dialer(at.agent, "/agent", "host", "nft", "-a", "list", "chain", d.Family, d.Table, d.Chain), mostPrinted)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(text) {
		if rule, found := strings.CutSuffix(strings.TrimSpace(line), fmt.Sprintf(" # handle %d", d.Rule)); found {
			return fmt.Sprintf(" (%q)", rule)
		}
	}
	return ""
}

// legacy finds the rules of iptables' older kind, which nftables' traces never show, that dropped packets of one more
// attempt: those whose counters it moves.
func (w *walk) legacy(ctx context.Context, at place, attempt func(context.Context, string) error, port int) []string {
	if at.netns != 0 {
		return nil
	}
	tool := "iptables-legacy-save"
	if ip, ok := w.failure.From.IP(w.env.Family); ok && ip.Is6() {
		tool = "ip6tables-legacy-save"
	}
	dump := func() (string, error) {
		return probe.Output(ctx, w.env.Players.Dialer(at.agent, "/agent", "host", tool, "-c"), mostPrinted)
	}
	before, err := dump()
	if err != nil {
		return nil
	}
	if attempt(ctx, fmt.Sprintf(":%d", port)) != nil {
		return nil
	}
	after, err := dump()
	if err != nil {
		return nil
	}
	var told []string
	for _, rule := range moved(before, after) {
		told = append(told, fmt.Sprintf("%s: %s drops it", at.name, rule))
	}
	return told
}

// What iptables-save -c prints of a table, of a chain's policy with its packets and bytes, and of a rule with them.
var (
	savedTable  = regexp.MustCompile(`^\*(\S+)$`)
	savedPolicy = regexp.MustCompile(`^:(\S+) DROP \[(\d+):\d+\]$`)
	savedRule   = regexp.MustCompile(`^\[(\d+):\d+\] (-A .* -j (?:DROP|REJECT)\b.*)$`)
)

// moved are the rules, and the policies of chains, that drop or reject and whose packets are not the same in both, in words.
func moved(before, after string) (rules []string) {
	was, _ := dropping(before)
	now, order := dropping(after)
	for _, rule := range order {
		if n := now[rule]; n != "0" && was[rule] != n {
			rules = append(rules, rule)
		}
	}
	return rules
}

// dropping are the rules and policies that drop or reject, with their packets, and their order.
func dropping(saved string) (count map[string]string, order []string) {
	count = map[string]string{}
	table := ""
	for line := range strings.Lines(saved) {
		line = strings.TrimSpace(line)
		rule, n := "", ""
		if m := savedTable.FindStringSubmatch(line); m != nil {
			table = m[1]
		} else if m := savedPolicy.FindStringSubmatch(line); m != nil {
			rule, n = fmt.Sprintf("the policy DROP of chain %s in iptables' table %s", m[1], table), m[2]
		} else if m := savedRule.FindStringSubmatch(line); m != nil {
			rule, n = fmt.Sprintf("the iptables rule %q of table %s", m[2], table), m[1]
		}
		if _, twice := count[rule]; rule != "" && !twice {
			order = append(order, rule)
		}
		if rule != "" {
			count[rule] = n
		}
	}
	return count, order
}
