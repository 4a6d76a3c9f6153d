package evidence

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/diagnose"
	"github.com/parley-k8s/parley/framework/probe"
)

const (
	// mostRules bounds what a node's tool may print: a big cluster's rules have megabytes.
	mostRules = 32 << 20
	// logLines and logBytes bound each container's log.
	logLines = 1000
	logBytes = 1 << 20
	// lead is how much before the check the minute of the failure begins.
	lead = 15 * time.Second
)

// minute is when what is gathered begins.
func (c *collector) minute() time.Time { return c.Since.Add(-lead) }

// ruleTools are the node's own programs that print packet rules, in the order in which they are tried; each prints
// what others can't see.
var ruleTools = [][]string{{"nft", "-a", "list", "ruleset"}, {"iptables-legacy-save", "-c"}, {"ip6tables-legacy-save", "-c"}}

// node writes what one node's network namespace has of the failure's addresses.
func (c *collector) node(ctx context.Context, node string) error {
	file := "node-" + node + ".txt"
	for _, agent := range c.Env.Players.Ends(world.Node) {
		if agent.Node != node {
			continue
		}
		seen, err := agent.InspectNetns(ctx, wire.InspectNetns{To: c.addresses(), Full: true})
		if err != nil || !seen.Ok() {
			return c.write(file, fmt.Sprintf("the node's network namespace could not be read: %s %v\n", seen.Errno, err))
		}
		var b strings.Builder
		section := func(title string, lines []string) {
			fmt.Fprintf(&b, "%s\n", title)
			for _, line := range lines {
				fmt.Fprintf(&b, "  %s\n", line)
			}
			if len(lines) == 0 {
				b.WriteString("  none\n")
			}
		}
		var ways []string
		for _, w := range seen.Lookups {
			ways = append(ways, diagnose.WayOf(node, w))
		}
		section("how "+node+" would send to these addresses", ways)
		section("interfaces", seen.Links)
		section("addresses", seen.Addresses)
		section("routes", seen.Routes)
		section("policy routing", seen.Policies)
		section("neighbours", seen.Neighbours)
		section("connections tracked that mention "+strings.Join(c.addresses(), ", "), seen.Conntrack)
		for _, tool := range ruleTools {
			text, err := probe.Output(ctx, c.Env.Players.Dialer(agent, append([]string{"/agent", "host"}, tool...)...), mostRules)
			if err != nil {
				section(strings.Join(tool, " "), []string{"not to be had: " + err.Error()})
				continue
			}
			section(strings.Join(tool, " ")+", the lines that mention them", mentioning(text, c.addresses()))
			if err := c.write("node-"+node+"-"+tool[0]+".txt", text); err != nil {
				return err
			}
		}
		return c.write(file, b.String())
	}
	return c.write(file, "no privileged agent runs on this node, so its tables could not be read\n")
}

// mentioning keeps the lines that have one of the addresses, and the table and chain that each stands in.
func mentioning(text string, addresses []string) []string {
	var kept, open []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "table ") || strings.HasPrefix(trimmed, "*"):
			open = []string{line}
		case strings.HasPrefix(trimmed, "chain ") || strings.HasPrefix(trimmed, "map ") || strings.HasPrefix(trimmed, "set "):
			open = append(open[:min(1, len(open))], line)
		}
		if slices.ContainsFunc(addresses, func(a string) bool { return mentions(line, a) }) {
			kept = append(append(kept, open...), line)
			open = nil
		}
	}
	return kept
}

// mentions says whether the line has the address and not one that only begins or ends like it.
func mentions(line, address string) bool {
	part := func(c byte) bool { return c == '.' || c == ':' || '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }
	for at := 0; ; {
		i := strings.Index(line[at:], address)
		if i < 0 {
			return false
		}
		before, after := at+i-1, at+i+len(address)
		if (before < 0 || !part(line[before])) && (after >= len(line) || !part(line[after]) || line[after] == ':') {
			return true
		}
		at = after
	}
}

// logs writes what the ends' agents and the components on their nodes logged since the check began.
func (c *collector) logs(ctx context.Context) error {
	var pods []corev1.Pod
	for _, end := range c.ends() {
		pods = append(pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: end.Namespace, Name: end.Pod},
			Spec: corev1.PodSpec{NodeName: end.Node, Containers: []corev1.Container{{Name: end.Container}}}})
	}
	nodes := c.nodes()
	components, err := c.Env.Kube.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
	if err != nil {
		return c.write("logs.txt", "the components' pods could not be listed: "+err.Error()+"\n")
	}
	names := strings.HasPrefix(c.Failure.Protocol, "dns")
	for _, pod := range components.Items {
		if slices.Contains(nodes, pod.Spec.NodeName) || names && strings.Contains(pod.Name, "dns") {
			pods = append(pods, pod)
		}
	}
	lines, bytes, since := int64(logLines), int64(logBytes), metav1.NewTime(c.minute())
	for _, pod := range pods {
		if c.Env.AnswersNoExec(pod.Spec.NodeName) {
			continue // nor does its kubelet bring a log
		}
		for _, container := range pod.Spec.Containers {
			text, err := c.Env.Kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container.Name,
				SinceTime: &since, TailLines: &lines, LimitBytes: &bytes, Timestamps: true}).DoRaw(ctx)
			switch {
			case err != nil:
				text = []byte("the log could not be read: " + err.Error() + "\n")
			case len(text) == 0:
				continue
			}
			if err := c.write(fmt.Sprintf("logs/%s.%s.txt", pod.Name, container.Name), string(text)); err != nil {
				return err
			}
		}
	}
	return nil
}
