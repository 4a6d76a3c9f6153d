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
		told = append(told, fmt.Sprintf("%s: the iptables rule %q drops it", at.name, rule))
	}
	return told
}

// counted is a line of iptables-save -c: packets, bytes, the rule.
var counted = regexp.MustCompile(`^\[(\d+):\d+\] (-A .* -j (?:DROP|REJECT)\b.*)$`)

// moved are the rules that drop or reject and whose packets are not the same in both.
func moved(before, after string) (rules []string) {
	was := map[string]string{}
	for line := range strings.Lines(before) {
		if m := counted.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			was[m[2]] = m[1]
		}
	}
	for line := range strings.Lines(after) {
		if m := counted.FindStringSubmatch(strings.TrimSpace(line)); m != nil && m[1] != "0" && was[m[2]] != m[1] {
			rules = append(rules, m[2])
		}
	}
	return rules
}
