package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/runkey"
	"github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/manifests"
)

// Outside is a host outside the cluster: a container on the nodes' network, with no route to the podCIDRs. It runs the
// agent, which also is the upstream resolver of the cluster's DNS: it answers NXDOMAIN to every name but those of
// wire.UpstreamZone, so that no query leaves this machine.
type Outside struct {
	IPs []netip.Addr
	// Relay is the command whose standard input and output are the agent's control channel, and Env what
	// it needs in its environment besides the process's own.
	Relay, Env []string
}

// IP returns its address of the family (4 or 6); ok is false where it has none.
func (o *Outside) IP(family int) (netip.Addr, bool) {
	for _, ip := range o.IPs {
		if ip.Is4() == (family == 4) {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// agentPath is where the agent's image has the agent.
const agentPath = "/agent"

// outsideTimeout bounds loading the agent's image into the engine and starting it.
const outsideTimeout = 2 * time.Minute

// startOutside starts the host outside the cluster, before the cluster: the nodes' resolver is its address.
func (c *Cluster) startOutside(ctx context.Context) error {
	e, id := c.spec.Engine, c.spec.Run
	if c.spec.AgentRef == "" {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, outsideTimeout, fmt.Errorf("not done within %s", outsideTimeout))
	defer cancel()
	if c.spec.AgentTar != "" {
		if _, err := e.Change(ctx, "load", "-i", c.spec.AgentTar); err != nil {
			return fmt.Errorf("loading the agent's image into %s: %w", e.Name, err)
		}
	}
	name := id.Name("outside")
	// In a file, since arguments are there for every user of this machine to read.
	environment := filepath.Join(c.dir, "outside.env")
	if err := os.WriteFile(environment, []byte(runkey.Env+"="+c.spec.AgentKey+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the environment of the host outside the cluster: %w", err)
	}
	_, err := e.Change(ctx, "run", "--detach", "--name", name, "--hostname", "outside",
		"--network", c.net.Name, "--env-file", environment, "--label", runid.Label+"="+string(id),
		// The agent runs without root; port 53 is open to it all the same.
		"--sysctl", "net.ipv4.ip_unprivileged_port_start=0",
		"--entrypoint", agentPath, c.spec.AgentRef, "serve", "--listen", "dns=:53,lies=upstream")
	if err != nil {
		return fmt.Errorf("starting the host outside the cluster: %w", err)
	}
	const form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}"
	out, err := e.Output(ctx, "inspect", "--format", form, name)
	if err != nil {
		return fmt.Errorf("reading the addresses of the host outside the cluster: %w", err)
	}
	c.outside = &Outside{Relay: []string{e.Path, "exec", "-i", name, agentPath, "relay"}, Env: e.Environ()}
	for field := range strings.FieldsSeq(out) {
		ip, err := netip.ParseAddr(field)
		if err != nil {
			return fmt.Errorf("reading the addresses of the host outside the cluster: %w", err)
		}
		c.outside.IPs = append(c.outside.IPs, ip)
	}
	return c.writeNodeFiles()
}

const controlPlaneNameUnit = "kubelet-control-plane-name.conf"

// nodeFiles is the folder of files that nodes mount; "" where there is no resolver to tell them.
func (c *Cluster) nodeFiles() string {
	if c.outside == nil {
		return ""
	}
	return filepath.Join(c.dir, "node")
}

// writeNodeFiles writes what makes the host outside the cluster the pods' resolver.
func (c *Cluster) writeNodeFiles() error {
	family := 4
	if c.spec.Family == "ipv6" {
		family = 6
	}
	resolver, ok := c.outside.IP(family)
	if !ok {
		return fmt.Errorf("the host outside the cluster has no IPv%d address: %v", family, c.outside.IPs)
	}
	files := map[string]string{
		"resolv.conf":   "nameserver " + resolver.String() + "\n",
		"control-plane": c.name + "-control-plane\n",
	}
	for _, name := range []string{controlPlaneNameUnit, "kubelet-control-plane-name.sh"} {
		text, err := manifests.Kind.ReadFile("kind/" + name)
		if err != nil {
			return err
		}
		files[name] = string(text)
	}
	if err := os.MkdirAll(c.nodeFiles(), 0o755); err != nil {
		return fmt.Errorf("making the folder of the nodes' files: %w", err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.nodeFiles(), name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the nodes' files: %w", err)
		}
	}
	return nil
}
