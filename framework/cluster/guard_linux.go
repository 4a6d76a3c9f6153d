package cluster

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// guardPriority is before every filter chain of the host: what the guard refuses is refused whatever they say,
// and what it lets by they still judge.
const guardPriority = -10

// setGuard makes the egress guard: one table in which the forward hook refuses whatever comes from the bridge
// and would leave by another interface than that bridge. Nodes reach each other and the host reaches them
// (neither is forwarded off the bridge); other containers are not matched. That covers the default routes of
// both families, those that appear later, and private networks behind the host (a VPN).
func setGuard(table, bridge string) error {
	if bridge == "" {
		return fmt.Errorf("the engine does not tell its bridge's name")
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening nftables: %w", err)
	}
	priority, accept := nftables.ChainPriority(guardPriority), nftables.ChainPolicyAccept
	t := conn.AddTable(&nftables.Table{Name: table, Family: nftables.TableFamilyINet})
	chain := conn.AddChain(&nftables.Chain{
		Name: "egress", Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: &priority, Policy: &accept,
	})
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, bridge)
	leaving := func(more ...expr.Any) *nftables.Rule {
		return &nftables.Rule{Table: t, Chain: chain, Exprs: append([]expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name},
		}, more...)}
	}
	// Answers to what others began are not egress: a person may reach a NodePort from another machine.
	conn.AddRule(leaving(
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{ctDirectionReply}},
		&expr.Verdict{Kind: expr.VerdictAccept},
	))
	conn.AddRule(leaving(
		&expr.Counter{},
		&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED},
	))
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("setting nftables table %s: %w", table, err)
	}
	return nil
}

// ctDirectionReply is IP_CT_DIR_REPLY of the kernel's nf_conntrack_tuple_common.h.
const ctDirectionReply = 1

// guardHits says how many packets the guard refused.
func guardHits(table string) (uint64, error) {
	conn, err := nftables.New()
	if err != nil {
		return 0, err
	}
	t := &nftables.Table{Name: table, Family: nftables.TableFamilyINet}
	rules, err := conn.GetRules(t, &nftables.Chain{Name: "egress", Table: t})
	if err != nil {
		return 0, err
	}
	var hits uint64
	for _, r := range rules {
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				hits += c.Packets
			}
		}
	}
	return hits, nil
}

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

func removeGuard(table string) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	conn.DelTable(&nftables.Table{Name: table, Family: nftables.TableFamilyINet})
	return conn.Flush()
}
