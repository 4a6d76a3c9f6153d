package fault

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// All are the rules of each in one table.
func All(each ...Rules) Rules {
	return func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
		var all []wire.Rule
		for _, rules := range each {
			set, err := rules(ctx, env)
			if err != nil {
				return nil, err
			}
			all = append(all, set...)
		}
		return all, nil
	}
}

// ICMP types of an echo request (RFC 792, RFC 4443).
const (
	echoRequest  = 8
	echoRequest6 = 128
)

// DropEcho drops the echo requests that arrive at the role's own address.
func DropEcho(role world.Role) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		ip, err := env.IP(env.Role(role))
		if err != nil {
			return nil, err
		}
		rule := wire.Rule{Hook: "input", Priority: BeforeAll, Proto: "icmp", ICMPType: echoRequest, To: ip.String(), Do: "drop"}
		if env.Family == corev1.IPv6Protocol {
			rule.Proto, rule.ICMPType = "icmpv6", echoRequest6
		}
		return []wire.Rule{rule}, nil
	}
}

// DropLonger drops what goes to the requirement's own ports in packets of more bytes than that, without a word to
// the sender.
func DropLonger(bytes int, protos ...string) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		var rules []wire.Rule
		for _, p := range protos {
			rules = append(rules, ownPorts(env, wire.Rule{Hook: "input", Priority: BeforeAll, Proto: p, Longer: bytes, Do: "drop"}))
		}
		return rules, nil
	}
}

// DropFragments drops the fragments that come from one role's address to another's pod, at the pod's interface:
// connection tracking puts them together before any later hook.
func DropFragments(from, to world.Role) Rules {
	return func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
		source, err := env.IP(env.Role(from))
		if err != nil {
			return nil, err
		}
		target := env.Role(to)
		own, err := env.IP(target)
		if err != nil {
			return nil, err
		}
		device, err := InterfaceOf(ctx, target, own)
		if err != nil {
			return nil, err
		}
		return []wire.Rule{{Hook: "ingress", In: device.Name, From: source.String(), Fragment: true, Do: "drop"}}, nil
	}
}

// RefuseConnectionsOver resets connections to the requirement's own ports once so many are open.
func RefuseConnectionsOver(limit int) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		return []wire.Rule{ownPorts(env, wire.Rule{Hook: "input", Priority: 0, Proto: "tcp", State: "new", Connections: limit, Do: "reset"})}, nil
	}
}

// ResetFIN answers each FIN to the requirement's own ports by a reset.
func ResetFIN() Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		return []wire.Rule{ownPorts(env, wire.Rule{Hook: "input", Priority: BeforeAll, Proto: "tcp", Flags: "fin", Do: "reset"})}, nil
	}
}

// Towards narrows rules to the packets that go to the role's own address.
func Towards(role world.Role, rules Rules) Rules {
	return func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
		ip, err := env.IP(env.Role(role))
		if err != nil {
			return nil, err
		}
		set, err := rules(ctx, env)
		for i := range set {
			set[i].To = ip.String()
		}
		return set, err
	}
}

// OnlyFamily narrows rules to the packets of one address family.
func OnlyFamily(family corev1.IPFamily, rules Rules) Rules {
	return func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
		set, err := rules(ctx, env)
		for i := range set {
			set[i].Family = "ip"
			if family == corev1.IPv6Protocol {
				set[i].Family = "ip6"
			}
		}
		return set, err
	}
}

// DropFrom drops what comes from the requirement's own source ports, at the hook of that name.
func DropFrom(hook string, protos ...string) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		var rules []wire.Rule
		for _, p := range protos {
			rules = append(rules, ownSources(env, wire.Rule{Hook: hook, Priority: BeforeAll, Proto: p, Do: "drop"}))
		}
		return rules, nil
	}
}

func ownSources(env *requirement.Env, r wire.Rule) wire.Rule {
	r.FromPort, r.FromPortEnd = env.Base, env.Base+requirement.PortsEach-1
	return r
}

// ICMP types of "destination unreachable" (RFC 792, RFC 4443).
const (
	unreachable  = 3
	unreachable6 = 1
)

// DropUnreachable drops the ICMP errors about unreachable ports that leave for the role's address.
func DropUnreachable(to world.Role) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		ip, err := env.IP(env.Role(to))
		if err != nil {
			return nil, err
		}
		rule := wire.Rule{Hook: "output", Priority: BeforeAll, Proto: "icmp", ICMPType: unreachable, To: ip.String(), Do: "drop"}
		if env.Family == corev1.IPv6Protocol {
			rule.Proto, rule.ICMPType = "icmpv6", unreachable6
		}
		return []wire.Rule{rule}, nil
	}
}
