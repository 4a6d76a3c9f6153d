package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/template"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/manifests"
)

// nodeNet are the addresses of a node and of its pods.
type nodeNet struct {
	Name     string
	IPs      []netip.Addr   // its InternalIPs
	PodCIDRs []netip.Prefix // of its pods
}

// configurePodNetwork gives the nodes a network where their image brings none: each node's pods on veths of their own
// with addresses of the node's podCIDRs, routes to the other nodes' podCIDRs, and no NAT between them. It
// begins as soon as the API server answers, watches the nodes as they join, and ends when the last has joined.
func (c *Cluster) configurePodNetwork(ctx context.Context, boot *bootstrap) error {
	client, err := boot.client(ctx)
	if err != nil {
		return err
	}
	configured := 0
	err = watchUntil(ctx, listNodes(client), func(nodes map[string]*corev1.Node) error {
		var ready []nodeNet
		for _, node := range nodes {
			if n, ok := netOf(node); ok {
				ready = append(ready, n)
			}
		}
		if len(ready) > configured {
			if err := c.configureNodes(ctx, ready); err != nil {
				return err
			}
			configured = len(ready)
		}
		if want := c.spec.Workers + 1; configured < want {
			return pending("%d of %d nodes have their pods' addresses", configured, want)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("laying the nodes' network: %w", err)
	}
	return nil
}

// netOf reads a node; ok is false while it has no addresses or no podCIDRs yet.
func netOf(node *corev1.Node) (n nodeNet, ok bool) {
	n.Name = node.Name
	for _, a := range node.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			n.IPs = append(n.IPs, ip)
		}
	}
	for _, s := range node.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(s); err == nil {
			n.PodCIDRs = append(n.PodCIDRs, p)
		}
	}
	return n, len(n.IPs) > 0 && len(n.PodCIDRs) > 0
}

// configureNodes configures the network of each of the nodes toward all of them.
func (c *Cluster) configureNodes(ctx context.Context, all []nodeNet) error {
	slices.SortFunc(all, func(a, b nodeNet) int { return strings.Compare(a.Name, b.Name) })
	group, ctx := errgroup.WithContext(ctx)
	for _, self := range all {
		group.Go(func() error {
			script, err := nodeScript(self, all)
			if err != nil {
				return err
			}
			cmd := c.spec.Engine.Command(ctx, "exec", "-i", self.Name, "sh", "-e", "-s")
			cmd.Stdin = strings.NewReader(script)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("configuring the network of node %s: %w: %s", self.Name, err, bytes.TrimSpace(out))
			}
			return nil
		})
	}
	return group.Wait()
}

// nodeScript is the shell script that configures a node: routes and masquerading first, so that they are there
// when the configuration makes the node ready.
func nodeScript(self nodeNet, all []nodeNet) (string, error) {
	var b strings.Builder
	var pods, nodes []string
	for _, n := range all {
		for _, ip := range n.IPs {
			nodes = append(nodes, ip.String())
		}
		if n.Name == self.Name {
			continue
		}
		for _, cidr := range n.PodCIDRs {
			for _, ip := range n.IPs {
				if ip.Is4() == cidr.Addr().Is4() {
					fmt.Fprintf(&b, "ip route replace %s via %s\n", cidr, ip)
				}
			}
		}
	}
	pods = append(pods, podSubnet4, podSubnet6)
	masquerade, err := render("cni/masquerade.nft", map[string]string{
		"Pods4": family(pods, false), "Pods6": family(pods, true),
		"Nodes4": family(nodes, false), "Nodes6": family(nodes, true),
	})
	if err != nil {
		return "", err
	}
	conflist, err := conflist(self)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "nft -f - <<'END'\n%sEND\n", masquerade)
	// Moved into place whole, and from the same folder: containerd looks when a file there is written or
	// renamed, not when one appears.
	fmt.Fprintf(&b, "mkdir -p /etc/cni/net.d\ncd /etc/cni/net.d\ncat > .10-parley <<'END'\n%sEND\nmv .10-parley 10-parley.conflist\n", conflist)
	return b.String(), nil
}

// conflist is the node's CNI configuration.
func conflist(self nodeNet) (string, error) {
	var ranges, defaults []string
	for _, cidr := range self.PodCIDRs {
		ranges = append(ranges, cidr.String())
		if cidr.Addr().Is4() {
			defaults = append(defaults, "0.0.0.0/0")
		} else {
			defaults = append(defaults, "::/0")
		}
	}
	return render("cni/10-parley.conflist", map[string][]string{"Ranges": ranges, "Defaults": defaults})
}

func render(file string, data any) (string, error) {
	t, err := template.ParseFS(manifests.CNI, file)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("filling in %s: %w", file, err)
	}
	return b.String(), nil
}

// family joins the addresses or subnets of one family as nftables lists them.
func family(all []string, six bool) string {
	var of []string
	for _, a := range all {
		if strings.Contains(a, ":") == six {
			of = append(of, a)
		}
	}
	return strings.Join(of, ", ")
}
