package dns

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func upstream() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/upstream",
		Title: "A name outside the cluster is forwarded to the node's resolver, and its answer comes back unchanged.",
		Level: requirement.Optional,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tasks/administer-cluster/dns-custom-nameservers/",
			Says: "Queries that are not within the cluster domain are forwarded to the resolvers of the node's /etc/resolv.conf, which the DNS pods " +
				"inherit.",
		},
		Why: "Every call out of the cluster begins with it. It breaks with the node's resolver, with a loop through a stub on the node's loopback, " +
			"and with a search list that takes outside names for its own.",
		// The node's resolver is asked directly by a pod that has the node's configuration: so it is seen whether it is the
		// suite's own.
		PerNode: true,
		Roles:   []world.Role{world.Near, world.DefaultDNS},
		Check: func(ctx context.Context, env *requirement.Env) error {
			// A name that was never asked for: nobody can have kept its answer.
			name := "n" + rand.String(12) + "." + wire.UpstreamZone
			direct, err := askServer(ctx, env, env.Role(world.DefaultDNS), wire.DNS{Name: name, Type: "A"})
			if err != nil {
				return err
			}
			if !direct.Ok() || len(direct.Answers) != 1 || direct.Answers[0] != wire.UpstreamIPv4 {
				return &requirement.Unsupported{Probed: fmt.Sprintf("the node's resolver is not the suite's, which alone knows %s: a pod with dnsPolicy Default got %s",
					wire.UpstreamZone, describe(direct))}
			}
			if err := env.Midway(ctx); err != nil {
				return err
			}
			name = "n" + rand.String(12) + "." + wire.UpstreamZone
			client := env.Role(world.Near)
			if err := hasRecords(ctx, env, client, wire.DNS{Name: name, Type: "A"}, wire.UpstreamIPv4); err != nil {
				return err
			}
			return programGets(ctx, env, client, name, "ip", wire.UpstreamIPv4, wire.UpstreamIPv6)
		},
		Control: requirement.Control{
			Says:  "the resolver outside stopped for as long",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.Midway(fault.OnEveryNode(dropToUpstream))}},
			Red:   []requirement.Reason{requirement.NoAnswer, requirement.WrongRecord},
			Alone: true,
		},
	}
}

// dropToUpstream drops what DNS pods send to the resolver outside.
func dropToUpstream(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
	config, err := configOf(ctx, env.Role(world.DefaultDNS), "/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	var rules []wire.Rule
	for _, to := range config.Nameservers {
		for _, proto := range []string{"udp", "tcp"} {
			rules = append(rules, wire.Rule{Hook: "prerouting", Priority: fault.BeforeAll, Proto: proto, To: to, ToPort: dnsPort, Do: "drop"})
		}
	}
	return rules, nil
}
