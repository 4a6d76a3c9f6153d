package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// node is what a fault has to know of one node: all of IPv4, as the cluster of this comparison is.
type node struct {
	name   string
	worker bool
	ip     netip.Addr
	pods   netip.Prefix
}

// Fault is something that breaks the cluster's network for a whole round: a table of rules on some nodes.
type Fault struct {
	Name  string // for --rounds and the folders
	Title string
	// only says that one worker alone has it; else all nodes do.
	only bool
	// chains are the chains of the table on a node, over the sets that table makes.
	chains string
}

// Healthy is the round without a fault.
var Healthy = Fault{Name: "healthy", Title: "healthy"}

// largest is the longest packet that the size fault lets pass between nodes, in bytes.
const largest = 1200

// Priorities of the chains: after routing has chosen the way, and before kube-proxy's own chains, which are at
// netfilter's filter (0) and source NAT (100).
const (
	beforeFilter = -10
	beforeSNAT   = 90
)

// Faults are the four. Each of the first two breaks one promise that nothing else rests on; the others break paths.
var Faults = []Fault{
	{Name: "masquerade", Title: "pods' source addresses masqueraded on a worker", only: true, chains: fmt.Sprintf(`
	chain leaving {
		type nat hook postrouting priority %d;
		ip saddr @own ip daddr @pods counter name acted masquerade
	}`, beforeSNAT)},
	{Name: "hairpin", Title: "hairpin dropped", chains: fmt.Sprintf(`
	chain passing {
		type filter hook forward priority %d;
		ip saddr . ip daddr @selves counter name acted drop
	}`, beforeFilter)},
	{Name: "size", Title: fmt.Sprintf("packets over %d bytes lost between nodes", largest), chains: dropBetween(
		fmt.Sprintf("meta length > %d", largest))},
	// DNS apart: without it nothing starts, and both suites would only tell that.
	{Name: "udp", Title: "UDP between nodes dropped, DNS apart", chains: dropBetween(
		"meta l4proto udp", "udp dport 53 accept", "udp sport 53 accept")},
}

// dropBetween are the chains that drop what matches on its way from this node to another's pods, or from this node's
// pods to another node; what is accepted first stays.
func dropBetween(match string, first ...string) string {
	var b strings.Builder
	for _, hook := range []string{"forward", "output"} {
		fmt.Fprintf(&b, "\n\tchain %s {\n\t\ttype filter hook %s priority %d;\n", hook, hook, beforeFilter)
		for _, rule := range first {
			fmt.Fprintf(&b, "\t\t%s\n", rule)
		}
		fmt.Fprintf(&b, "\t\tip daddr @pods %s counter name acted drop\n", match)
		if hook == "forward" {
			fmt.Fprintf(&b, "\t\tip saddr @own ip daddr @nodes %s counter name acted drop\n", match)
		}
		b.WriteString("\t}")
	}
	return b.String()
}

// largestPodCIDR is the fewest bits of a podCIDR whose addresses are listed one by one.
const largestPodCIDR = 20

// script is the table of a node, in nft's own language. It replaces an older table of its name.
func (f Fault) script(table string, self node, all []node) (string, error) {
	if self.pods.Bits() < largestPodCIDR {
		return "", fmt.Errorf("the podCIDR %s of node %s is too large to list its addresses", self.pods, self.name)
	}
	var pods, nodes, selves []string
	for _, n := range all {
		if n.name != self.name {
			pods, nodes = append(pods, n.pods.String()), append(nodes, n.ip.String())
		}
	}
	for ip := self.pods.Masked().Addr(); self.pods.Contains(ip); ip = ip.Next() {
		selves = append(selves, ip.String()+" . "+ip.String())
	}
	if len(pods) == 0 {
		return "", errors.New("the cluster has one node: a fault between nodes needs two")
	}
	return fmt.Sprintf(`table inet %[1]s
delete table inet %[1]s
table inet %[1]s {
	counter acted { }
	set own { type ipv4_addr; flags interval; elements = { %[2]s } }
	set pods { type ipv4_addr; flags interval; elements = { %[3]s } }
	set nodes { type ipv4_addr; elements = { %[4]s } }
	set selves { type ipv4_addr . ipv4_addr; elements = { %[5]s } }%[6]s
}
`, table, self.pods, strings.Join(pods, ", "), strings.Join(nodes, ", "), strings.Join(selves, ", "), f.chains), nil
}

// affected says which nodes have the fault: the last worker alone, or all.
func (f Fault) affected(all []node) []node {
	switch {
	case f.chains == "":
		return nil
	case f.only:
		for _, n := range slices.Backward(all) {
			if n.worker {
				return []node{n}
			}
		}
	}
	return all
}

// injector puts tables on nodes and takes them away.
type injector struct {
	table   string
	nodes   []node
	command func(ctx context.Context, node string, argv ...string) (*exec.Cmd, error)
}

// nftTimeout bounds one nft command on a node.
const nftTimeout = 30 * time.Second

func (i injector) nft(ctx context.Context, n node, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, nftTimeout)
	defer cancel()
	cmd, err := i.command(ctx, n.name, append([]string{"nft"}, args...)...)
	if err != nil {
		return "", err
	}
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("nft %s on node %s: %w: %s", strings.Join(args, " "), n.name, err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// inject puts the fault on; lift takes it away, also where injecting it failed amid.
func (i injector) inject(ctx context.Context, f Fault) error {
	for _, n := range f.affected(i.nodes) {
		script, err := f.script(i.table, n, i.nodes)
		if err == nil {
			_, err = i.nft(ctx, n, script, "-f", "-")
		}
		if err != nil {
			return fmt.Errorf("injecting the fault %q: %w", f.Title, err)
		}
	}
	return nil
}

func (i injector) lift(ctx context.Context, f Fault) error {
	var errs []error
	for _, n := range f.affected(i.nodes) {
		// Made and removed in one step: so it is no error where there is none.
		if _, err := i.nft(ctx, n, fmt.Sprintf("table inet %[1]s\ndelete table inet %[1]s\n", i.table), "-f", "-"); err != nil {
			errs = append(errs, fmt.Errorf("lifting the fault %q: %w", f.Title, err))
		}
	}
	return errors.Join(errs...)
}

// acted is how often the fault met a packet so far, on all its nodes; of the masquerade, a connection.
func (i injector) acted(ctx context.Context, f Fault) (total uint64, err error) {
	for _, n := range f.affected(i.nodes) {
		out, err := i.nft(ctx, n, "", "-j", "list", "counter", "inet", i.table, "acted")
		if err != nil {
			return 0, fmt.Errorf("asking how often the fault %q acted: %w", f.Title, err)
		}
		packets, err := parseCounter([]byte(out))
		if err != nil {
			return 0, fmt.Errorf("asking node %s how often the fault %q acted: %w", n.name, f.Title, err)
		}
		total += packets
	}
	return total, nil
}

// parseCounter reads the packets of the counter that nft lists as JSON.
func parseCounter(list []byte) (uint64, error) {
	var got struct {
		Nftables []struct {
			Counter *struct {
				Packets uint64 `json:"packets"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(list, &got); err != nil {
		return 0, fmt.Errorf("reading nft's counter: %w", err)
	}
	for _, item := range got.Nftables {
		if item.Counter != nil {
			return item.Counter.Packets, nil
		}
	}
	return 0, errors.New("nft listed no counter")
}

// nodesOf reads the nodes, in the order in which the API server lists them.
func nodesOf(list []corev1.Node) ([]node, error) {
	var all []node
	for _, n := range list {
		one := node{name: n.Name}
		_, control := n.Labels["node-role.kubernetes.io/control-plane"]
		one.worker = !control
		for _, a := range n.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP && ip.Is4() {
				one.ip = ip
			}
		}
		prefix, err := netip.ParsePrefix(n.Spec.PodCIDR)
		if err != nil || !prefix.Addr().Is4() || !one.ip.IsValid() {
			return nil, fmt.Errorf("node %s has no IPv4 podCIDR or no IPv4 address, which the faults need", n.Name)
		}
		one.pods = prefix.Masked()
		all = append(all, one)
	}
	return all, nil
}
