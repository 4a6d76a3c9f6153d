package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/runid"
)

// network is a run's container network.
type network struct {
	Name    string
	Bridge  string // the name of its bridge on the host; "" where not told
	Subnets []netip.Prefix
}

// createNetwork makes the run's network, with IPv6 beside IPv4 where the host can.
func createNetwork(ctx context.Context, e *engine.Engine, id runid.ID) (network, error) {
	args := []string{"network", "create", "--driver", "bridge", "--label", runid.Label + "=" + string(id)}
	if e.Name == "docker" {
		args = append(args, "--opt", "com.docker.network.bridge.name="+bridgeName(id))
	}
	_, err := e.Change(ctx, append(args, "--ipv6", "--subnet", uniqueLocal(id).String(), id.Name())...)
	if err != nil && ctx.Err() == nil {
		// No IPv6 in this kernel, or switched off: the lab does with IPv4.
		if _, again := e.Change(ctx, append(args, id.Name())...); again == nil {
			err = nil
		}
	}
	if err != nil {
		return network{}, fmt.Errorf("making the run's container network: %w", err)
	}
	out, err := e.Output(ctx, "network", "inspect", id.Name())
	if err != nil {
		return network{}, fmt.Errorf("reading the run's container network: %w", err)
	}
	return readNetwork(id, []byte(out))
}

// bridgeName is a name for the run's bridge that fits into an interface name (15 bytes).
func bridgeName(id runid.ID) string {
	name := "pl-" + string(id)
	return name[:min(len(name), 15)]
}

// uniqueLocal is an IPv6 subnet of the run's own, RFC 4193: fd and 56 bits of the run's ID's hash.
func uniqueLocal(id runid.ID) netip.Prefix {
	sum := sha256.Sum256([]byte(id))
	var a [16]byte
	a[0] = 0xfd
	copy(a[1:8], sum[:7])
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// readNetwork reads `network inspect`, which docker (and nerdctl) and podman answer in different forms.
func readNetwork(id runid.ID, inspect []byte) (network, error) {
	n := network{Name: id.Name()}
	seen, err := parseNetworks(inspect)
	if err != nil {
		return n, err
	}
	if len(seen) != 1 {
		return n, fmt.Errorf("reading the run's container network: %d answers for one name", len(seen))
	}
	s := seen[0]
	for _, sub := range s.Subnets {
		n.Subnets = append(n.Subnets, sub.Subnet)
	}
	for _, c := range s.IPAM.Config {
		n.Subnets = append(n.Subnets, c.Subnet)
	}
	n.Bridge = s.bridge()
	return n, nil
}

// networkInspect is one answer of `network inspect`.
type networkInspect struct {
	// podman
	NetworkInterface string `json:"network_interface"`
	Subnets          []struct {
		Subnet netip.Prefix `json:"subnet"`
	} `json:"subnets"`
	// docker
	ID      string `json:"Id"`
	Options map[string]string
	IPAM    struct {
		Config []struct{ Subnet netip.Prefix }
	}
}

// parseNetworks reads the answers of `network inspect`.
func parseNetworks(out []byte) (seen []networkInspect, err error) {
	if err := json.Unmarshal(out, &seen); err != nil {
		return nil, fmt.Errorf("reading container networks: %w", err)
	}
	return seen, nil
}

// bridge is the network's bridge on the host; "" where not told.
func (s networkInspect) bridge() string {
	switch {
	case s.NetworkInterface != "":
		return s.NetworkInterface
	case s.Options["com.docker.network.bridge.name"] != "":
		return s.Options["com.docker.network.bridge.name"]
	case len(s.ID) >= 12:
		return "br-" + strings.ToLower(s.ID[:12])
	}
	return ""
}

// orphanedBridge says whether a guard's bridge is one that podman made and has forgotten: its commands were killed amid
// their work. The bridge is looked for first: one that another run makes meanwhile is in that run's network by then.
func orphanedBridge(ctx context.Context, e *engine.Engine, guard string) (bridge string, yes bool) {
	bridge, there := guardedBridge(guard)
	if !there || e == nil || e.Name != "podman" || e.Rootless || e.Remote || !strings.HasPrefix(bridge, "podman") {
		return bridge, false
	}
	names, err := e.Lines(ctx, "network", "ls", "--format", "{{.Name}}")
	if err != nil || len(names) == 0 {
		return bridge, false
	}
	out, err := e.Output(ctx, append([]string{"network", "inspect"}, names...)...)
	if err != nil {
		return bridge, false
	}
	seen, err := parseNetworks([]byte(out))
	if err != nil {
		return bridge, false
	}
	for _, s := range seen {
		if s.bridge() == bridge {
			return bridge, false
		}
	}
	return bridge, true
}
