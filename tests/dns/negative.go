package dns

import (
	"context"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// absent is a name that nobody has.
func absent(env *requirement.Env) string {
	return fullName(env, "no-such-service", env.Namespace())
}

func nxdomain() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/nxdomain",
		Title: "A name that does not exist in the cluster domain is answered with NXDOMAIN: neither SERVFAIL nor silence.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  specification + "#23---records-for-a-service-with-clusterip",
			Says: "Records exist for the Services that exist; for any other name of the zone RFC 2308 demands a name error.",
		},
		Why: "Search lists rest on quick name errors: each short name first fails under a few longer ones. An error or a time-out there " +
			"ends or delays every lookup.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client, name := env.Role(world.Near), absent(env)
			q := wire.DNS{Name: name, Type: "A"}
			err := env.Until(ctx, func(ctx context.Context) error {
				got, err := askServer(ctx, env, client, q)
				if err != nil || got.Class == wire.NameError {
					return err
				}
				return unlike(client, q, got, "NXDOMAIN")
			})
			if err != nil {
				return err
			}
			return env.Until(ctx, func(ctx context.Context) error {
				got, err := resolve(ctx, env, client, name, "ip")
				if err != nil || got.Class == wire.NameError {
					return err
				}
				return unresolved(client, wire.Resolve{Name: name}, got, "a program to be told that there is no such name")
			})
		},
		Control: lied(world.LiarFailPort, requirement.WrongRecord),
	}
}

func negativeSOA() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/negative-soa",
		Title: "Answers that say no carry the zone's SOA record, by which resolvers know for how long to keep them.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc2308#section-3",
			Says: "Authoritative servers must put the zone's SOA into the authority section of an NXDOMAIN or of an answer without data; the " +
				"smaller of its TTL and its MINIMUM is how long the negative answer may be kept.",
		},
		Why: "Without it caches between the pods and the server (NodeLocal DNSCache, systemd-resolved, dnsmasq) keep no negative answer, and " +
			"each walk along a search list costs all its round trips anew. With a long time in it a new Service stays unknown for so long.",
		OneNode:  serversAnswer,
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.SingleStack},
		Check: func(ctx context.Context, env *requirement.Env) error {
			service := env.Service(world.SingleStack)
			for _, q := range []wire.DNS{
				{Name: absent(env), Type: "A"},
				{Name: nameOf(env, world.SingleStack), Type: recordOf(otherFamily(service.Spec.IPFamilies[0]))},
			} {
				if err := hasSOA(ctx, env, q); err != nil {
					return err
				}
			}
			return nil
		},
		Control: lied(world.LiarNoNamePort, requirement.WrongRecord),
	}
}

// hasSOA says whether the answer is negative and has the SOA of a zone that the name is in.
func hasSOA(ctx context.Context, env *requirement.Env, q wire.DNS) error {
	client := env.Role(world.Near)
	return env.Until(ctx, func(ctx context.Context) error {
		got, err := askServer(ctx, env, client, q)
		if err != nil {
			return err
		}
		for _, text := range got.Authority {
			rr, err := dns.NewRR(text)
			if err != nil {
				return fmt.Errorf("reading the record %q: %w", text, err)
			}
			if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, q.Name) && len(got.Answers) == 0 {
				env.Note("%s of %s: %s may be kept for %d s", q.Type, q.Name, got.Rcode, min(soa.Hdr.Ttl, soa.Minttl))
				return nil
			}
		}
		f := unlike(client, q, got, "a negative answer with the zone's SOA in its authority section")
		if got.Rcode != "" {
			f.Reason, f.Observed = requirement.WrongRecord, fmt.Sprintf("%s with the authority section [%s]", describe(got), strings.Join(got.Authority, "; "))
		}
		return f
	})
}

func noData() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/no-data",
		Title: "Asked for the address family that a Service does not have, the server answers NOERROR without records, not NXDOMAIN.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc2308#section-2.2",
			Says: "That a name exists without records of the type asked is told by NOERROR and an empty answer section; NXDOMAIN is for names that " +
				"do not exist (RFC 4074 lists what a wrong answer to AAAA breaks).",
		},
		Why: "Programs ask for A and AAAA at once. An NXDOMAIN for one says that the name does not exist at all, and resolvers (musl's for " +
			"one) then drop the other's address: the Service is gone for half of the images.",
		OneNode:  serversAnswer,
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.SingleStack},
		Check: func(ctx context.Context, env *requirement.Env) error {
			service, client := env.Service(world.SingleStack), env.Role(world.Near)
			name, family := nameOf(env, world.SingleStack), service.Spec.IPFamilies[0]
			if err := withoutRecords(ctx, env, wire.DNS{Name: name, Type: recordOf(otherFamily(family))}); err != nil {
				return err
			}
			return programGets(ctx, env, client, name, "ip", service.Spec.ClusterIP)
		},
		Control: lied(world.LiarNoNamePort, requirement.NameLost),
	}
}

func unknownType() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/other-types",
		Title: "Asked for record types that a Service has none of (HTTPS, MX, CAA), the server answers NOERROR without records.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc2308#section-2.2",
			Says: "That a name exists without records of the type asked is told by NOERROR and an empty answer section, whatever the type " +
				"(RFC 3597 for types that a server does not know).",
		},
		Why: "HTTP clients ask for HTTPS records beside A and AAAA (RFC 9460), and mailers for MX. SERVFAIL or silence makes them wait or " +
			"give up on a name that is fine.",
		OneNode:  serversAnswer,
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, record := range []string{"HTTPS", "MX", "CAA"} {
				if err := withoutRecords(ctx, env, wire.DNS{Name: nameOf(env, world.Web), Type: record}); err != nil {
					return err
				}
			}
			return nil
		},
		Control: lied(world.LiarFailPort, requirement.WrongRecord),
	}
}

func withoutRecords(ctx context.Context, env *requirement.Env, q wire.DNS) error {
	client := env.Role(world.Near)
	return env.Until(ctx, func(ctx context.Context) error {
		got, err := askServer(ctx, env, client, q)
		if err != nil || (got.Ok() && len(got.Answers) == 0) {
			return err
		}
		return unlike(client, q, got, "NOERROR and no records")
	})
}
