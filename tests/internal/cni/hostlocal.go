package cni

import (
	"net/netip"
	"strings"
)

// HostLocalFolders are where the IPAM plugin host-local keeps a folder for each network, with a file for each address that is in use:
// its default, and that of kind's configurations.
var HostLocalFolders = []string{"/var/lib/cni/networks", "/run/cni-ipam-state"}

// HostLocalAddress reads the name of a file of host-local; ok is false for its lock and its notes.
func HostLocalAddress(name string) (ip netip.Addr, ok bool) {
	// Where a file system takes no colon in a name, the plugin writes an IPv6 address with underscores.
	ip, err := netip.ParseAddr(strings.ReplaceAll(name, "_", ":"))
	return ip, err == nil
}

// HostLocalHolder is the container ID in such a file, which for a runtime of the CRI is the sandbox's; "" where there is none.
func HostLocalHolder(content []byte) string {
	first, _, _ := strings.Cut(strings.TrimSpace(string(content)), "\n")
	return strings.TrimSpace(first)
}
