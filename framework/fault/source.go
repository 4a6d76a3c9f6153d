package fault

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

// MasqueradeFrom rewrites the source of what comes from the requirement's own source ports as it leaves the node.
func MasqueradeFrom(protos ...string) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		var rules []wire.Rule
		for _, p := range protos {
			rules = append(rules, ownSources(env, wire.Rule{Hook: "postrouting", Priority: BeforeNAT, Proto: p, Do: "masquerade"}))
		}
		return rules, nil
	}
}

// TranslateFrom rewrites the source of what arrives from the requirement's own source ports within the server's pod, for
// data paths that a node's netfilter never sees.
func TranslateFrom(protos ...string) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		var rules []wire.Rule
		for _, p := range protos {
			rules = append(rules, ownSources(env, wire.Rule{Hook: "input", Priority: 100, Proto: p, Do: "snat", Target: nobodys(env.Family)}))
		}
		return rules, nil
	}
}

// nobodys is an address for documentation (RFC 5737, RFC 3849), which nobody has.
func nobodys(family corev1.IPFamily) string {
	if family == corev1.IPv6Protocol {
		return "2001:db8::66"
	}
	return "192.0.2.66"
}

// UntrackAnswers hides what a server's port answers to the requirement's own source ports from connection tracking.
func UntrackAnswers(proto string, serverPort int) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		return []wire.Rule{ownPorts(env, wire.Rule{Hook: "prerouting", Priority: BeforeAll, Proto: proto, FromPort: serverPort, Do: "notrack"})}, nil
	}
}

// DropLongerFrom drops what comes from the requirement's own source ports in packets of more bytes than that, without a
// word to the sender.
func DropLongerFrom(hook string, bytes int, protos ...string) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		var rules []wire.Rule
		for _, p := range protos {
			rules = append(rules, ownSources(env, wire.Rule{Hook: hook, Priority: BeforeAll, Proto: p, Longer: bytes, Do: "drop"}))
		}
		return rules, nil
	}
}
