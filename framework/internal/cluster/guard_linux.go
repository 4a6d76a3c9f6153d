package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// guardPriority is before every filter chain of the host: what the guard refuses is refused whatever they say,
// and what it lets by they still judge.
const guardPriority = -10

// untrackPriority is before conntrack and before its defragmentation (NF_IP_PRI_CONNTRACK_DEFRAG, -400).
const untrackPriority = -450

// setGuard makes the run's table on the host, with two chains.
//
// egress refuses, in the forward hook, whatever comes from the bridge and would leave by another interface than
// that bridge. Nodes reach each other and the host reaches them (neither is forwarded off the bridge); other
// containers are not matched. That covers the default routes of both families, those that appear later, and
// private networks behind the host (a VPN).
//
// cluster keeps the host out of what nodes and pods say to each other over the bridge, to any of the prefixes
// within: where bridged packets pass the host's IP hooks (br_netfilter), the engine's masquerading would
// replace a node's address on its way to a pod, two runs with the same pod addresses would meet in one
// conntrack table, and fragments would be put together on the way.
func setGuard(table, bridge string, within []netip.Prefix) error {
	if bridge == "" {
		return fmt.Errorf("the engine does not tell its bridge's name")
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening nftables: %w", err)
	}
	t := conn.AddTable(&nftables.Table{Name: table, Family: nftables.TableFamilyINet})
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, bridge)
	rule := func(chain *nftables.Chain, exprs ...expr.Any) {
		conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append([]expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		}, exprs...)})
	}
	chain := func(name string, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
		accept := nftables.ChainPolicyAccept
		return conn.AddChain(&nftables.Chain{
			Name: name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority, Policy: &accept,
		})
	}

	egress := chain(egressChain, nftables.ChainHookForward, guardPriority)
	leaving := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name},
	}
	// Answers to what others began are not egress: a person may reach a NodePort from another machine.
	rule(egress, append(slices.Clone(leaving),
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{ctDirectionReply}},
		&expr.Verdict{Kind: expr.VerdictAccept})...)
	rule(egress, append(slices.Clone(leaving),
		&expr.Counter{},
		&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED})...)

	cluster := chain("cluster", nftables.ChainHookPrerouting, untrackPriority)
	// What is meant for the host itself (the engine's resolver, answers to the host) stays tracked.
	rule(cluster,
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
		&expr.Verdict{Kind: expr.VerdictAccept})
	for _, p := range within {
		rule(cluster, append(destinationIn(p), &expr.Notrack{})...)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("setting nftables table %s: %w", table, err)
	}
	return nil
}

const egressChain = "egress"

// destinationIn matches packets to an address of the prefix.
func destinationIn(p netip.Prefix) []expr.Any {
	protocol, offset, bits := byte(unix.NFPROTO_IPV4), uint32(16), 32
	if p.Addr().Is6() {
		protocol, offset, bits = unix.NFPROTO_IPV6, 24, 128
	}
	length := uint32(bits / 8)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: length,
			Mask: net.CIDRMask(p.Bits(), bits), Xor: make([]byte, length),
		},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

// ctDirectionReply is IP_CT_DIR_REPLY of the kernel's nf_conntrack_tuple_common.h.
const ctDirectionReply = 1

// guardTables lists the names of the nftables tables of the family that guards have.
func guardTables() ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
	}
	return names, nil
}

// guardedBridge returns the bridge that a guard is set for, and whether it still exists.
func guardedBridge(table string) (bridge string, there bool) {
	conn, err := nftables.New()
	if err != nil {
		return "", false
	}
	t := &nftables.Table{Name: table, Family: nftables.TableFamilyINet}
	rules, err := conn.GetRules(t, &nftables.Chain{Name: egressChain, Table: t})
	if err != nil || len(rules) == 0 {
		return "", false
	}
	for _, e := range rules[0].Exprs { // the bridge is the first thing that each rule compares with
		if c, ok := e.(*expr.Cmp); ok {
			bridge = string(bytes.TrimRight(c.Data, "\x00"))
			_, err := net.InterfaceByName(bridge)
			return bridge, err == nil
		}
	}
	return "", false
}

// removeBridge removes a bridge that its engine has forgotten, with what is plugged into it: the veths, and the
// network namespaces that the engine had made for their other ends.
func removeBridge(name string) error {
	bridge, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("looking for bridge %s: %w", name, err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("listing what is plugged into bridge %s: %w", name, err)
	}
	far := map[int]bool{}
	var errs []error
	for _, l := range links {
		if l.Attrs().MasterIndex == bridge.Attrs().Index {
			far[l.Attrs().NetNsID] = true
			errs = append(errs, netlink.LinkDel(l))
		}
	}
	errs = append(errs, netlink.LinkDel(bridge))
	paths, err := filepath.Glob("/run/netns/netns-*") // netavark's, by its naming
	errs = append(errs, err)
	for _, path := range paths {
		if f, err := os.Open(path); err == nil {
			id, err := netlink.GetNetNsIdByFd(int(f.Fd()))
			_ = f.Close() // only asked about
			if err == nil && id >= 0 && far[id] {
				errs = append(errs, unix.Unmount(path, unix.MNT_DETACH), os.Remove(path))
			}
		}
	}
	return errors.Join(errs...)
}

func removeGuard(table string) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	conn.DelTable(&nftables.Table{Name: table, Family: nftables.TableFamilyINet})
	return conn.Flush()
}
