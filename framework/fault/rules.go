package fault

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// DropOwnPorts drops what goes to the requirement's own ports, at the hook of that name: as of nft(8), prerouting, input, forward,
// output or postrouting.
func DropOwnPorts(hook, proto string) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		return []wire.Rule{ownPorts(env, wire.Rule{Hook: hook, Priority: BeforeAll, Proto: proto, Do: "drop"})}, nil
	}
}

// DropOwnPortsFrom drops what comes to the requirement's own ports from the role's address.
func DropOwnPortsFrom(role world.Role, proto string) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		ip, err := env.IP(env.Role(role))
		if err != nil {
			return nil, err
		}
		return []wire.Rule{ownPorts(env, wire.Rule{Hook: "prerouting", Priority: BeforeAll, Proto: proto, From: ip.String(), Do: "drop"})}, nil
	}
}

// DropOnLoopback drops what goes to the requirement's own ports over lo.
func DropOnLoopback(proto string) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		return []wire.Rule{ownPorts(env, wire.Rule{Hook: "input", Priority: BeforeAll, Proto: proto, In: "lo", Do: "drop"})}, nil
	}
}

// DropRST drops the refusals that leave the requirement's own ports.
func DropRST() Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		return []wire.Rule{{Hook: "output", Priority: BeforeAll, Proto: "tcp", Flags: "rst",
			FromPort: env.Base, FromPortEnd: env.Base + requirement.PortsEach - 1, Do: "drop"}}, nil
	}
}

// MasqueradeOwnPorts rewrites the source of what goes to the requirement's own ports as it leaves the node.
func MasqueradeOwnPorts(proto ...string) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		var rules []wire.Rule
		for _, p := range proto {
			rules = append(rules, ownPorts(env, wire.Rule{Hook: "postrouting", Priority: BeforeNAT, Proto: p, Do: "masquerade"}))
		}
		return rules, nil
	}
}

// TranslateSource rewrites the source of what arrives at the requirement's own ports within the
// server's pod, for data paths that a node's netfilter never sees.
func TranslateSource(proto ...string) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		var rules []wire.Rule
		for _, p := range proto {
			rules = append(rules, ownPorts(env, wire.Rule{Hook: "input", Priority: 100, Proto: p, Do: "snat", Target: nobodys(env.Family)}))
		}
		return rules, nil
	}
}

// DropToService drops what goes to the Service's virtual IP before anything translates it.
func DropToService(hook string, service world.Service, protos ...string) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		ip, ok := env.Service(service).ClusterIP(env.Family)
		if !ok {
			return nil, fmt.Errorf("the Service %s has no virtual IP of %s", service, env.Family)
		}
		var rules []wire.Rule
		for _, p := range protos {
			// By the client's own source ports: other requirements talk to the same virtual IP.
			rules = append(rules, wire.Rule{Hook: hook, Priority: BeforeAll, Proto: p, To: ip.String(),
				FromPort: env.Base, FromPortEnd: env.Base + requirement.PortsEach - 1, Do: "drop"})
		}
		return rules, nil
	}
}

// LieAbout redirects the DNS questions that the requirement asks from its own source ports to a
// lying resolver's port.
func LieAbout(port int) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		var rules []wire.Rule
		liars := env.Players.Ends(world.Liar) // there for every proof by a fault
		if len(liars) == 0 {
			return nil, errNoLiar
		}
		for _, liar := range liars[0].IPs { // the resolver may be asked over either family
			for _, p := range []string{"udp", "tcp"} {
				rules = append(rules, wire.Rule{Hook: "output", Priority: BeforeNAT, Proto: p, ToPort: 53,
					FromPort: env.Base, FromPortEnd: env.Base + requirement.PortsEach - 1, Do: "dnat",
					Target: requirement.At(liar, port)})
			}
		}
		return rules, nil
	}
}

func ownPorts(env *requirement.Env, r wire.Rule) wire.Rule {
	r.ToPort, r.ToPortEnd = env.Base, env.Base+requirement.PortsEach-1
	return r
}
