package dns

import (
	"context"
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// manyEndpoints is as many as an EndpointSlice of the API's own controller has: their addresses take 1,600 bytes and
	// more, three times what a UDP answer may have without EDNS.
	manyEndpoints = 100
	// plainUDP is how long a UDP answer may be without EDNS (RFC 1035, 4.2.1).
	plainUDP = 512
	// ednsSize is what resolvers announce since the flag day of 2020: no fragments on any usual path.
	ednsSize = 1232
	// withoutEDNS is the variant that asks without it.
	withoutEDNS = "without-edns"
)

func noTCP() requirement.Control {
	return requirement.Control{
		Says:  "what goes from the asker's ports by TCP dropped",
		Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Near, fault.DropFrom("output", "tcp"))}},
		Red:   []requirement.Reason{requirement.NoAnswer},
	}
}

func overTCP() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/tcp",
		Title: "The cluster's DNS answers over TCP as over UDP.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc7766#section-5",
			Says: "All general-purpose DNS implementations must support UDP and TCP. Kubernetes' conformance test of cluster DNS looks names up over " +
				"both.",
		},
		Why: "Large answers need it, and options use-vc is a usual way round lost UDP packets. A Service or policy that forgets TCP/53 shows " +
			"only when an answer grows.",
		PerNode: true,
		Roles:   []world.Role{world.Near}, Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			return hasRecords(ctx, env, env.Role(world.Near), wire.DNS{Name: nameOf(env, world.Web), Type: recordOf(env.Family), TCP: true}, ip)
		},
		Control: noTCP(),
	}
}

func largeAnswer() requirement.Requirement {
	return requirement.Requirement{
		ID: "dns/large-answer",
		Title: fmt.Sprintf("A name with %d addresses gives a program all of them, whether it announces EDNS(0) or not: what is cut it asks for again over TCP.",
			manyEndpoints),
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc6891#section-6.2.5",
			Says: "Whoever asks announces by EDNS(0) how large a UDP answer may be, and servers answer up to that; every network must carry packets of 1280 " +
				"bytes (RFC 8200, section 5). A truncated answer has the client ask again over TCP, and servers must answer there (RFC 7766, section 5).",
		},
		Why: "A headless Service grows with its replicas, and one day its answer passes 512 bytes. Programs that announce more (Go's resolver, glibc with " +
			"edns0, systemd-resolved) get no answer at all where larger UDP answers are lost on the way, and wait in vain; the others ask again over " +
			"TCP, and where that does not get through the name stops resolving, or part of the pods are never seen.",
		PerNode: true,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			name, want, err := largeName(ctx, env, client)
			if err != nil {
				return err
			}
			for _, announced := range []int{0, ednsSize} {
				r := wire.Resolve{Name: name, Family: familyOf(env.Family), EDNS: announced}
				if err := programGetsNew(ctx, env, client, r, want...); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says:  "what is longer than 600 bytes and goes by UDP to the asker's ports dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Near, fault.DropLonger(600, "udp"))}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		},
	}
}

// largeName makes a headless Service of many endpoints that nobody dials, and waits until DNS gives it to the client.
func largeName(ctx context.Context, env *requirement.Env, client *requirement.End) (name string, ips []string, err error) {
	service, err := newService(ctx, env, headlessSpec())
	if err != nil {
		return "", nil, err
	}
	var endpoints []discoveryv1.Endpoint
	for i := range manyEndpoints {
		ip := nobody(env, i+1)
		endpoints, ips = append(endpoints, endpoint(ip, true)), append(ips, ip.String())
	}
	if _, err := newSlice(ctx, env, service, endpoints...); err != nil {
		return "", nil, err
	}
	name = fullName(env, service.Name, service.Namespace)
	_, err = appears(ctx, env, client, wire.DNS{Name: name, Type: recordOf(env.Family)})
	return name, ips, err
}

func truncation() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/truncation",
		Title: "An answer that does not fit is marked truncated: within 512 bytes over UDP, or within what the asker announced by EDNS.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc6891#section-6.2.3",
			Says: "Without EDNS a UDP message has at most 512 bytes (RFC 1035), with it at most the size that the requestor announced; what is longer " +
				"is cut and TC set (RFC 2181, section 9).",
		},
		Why: "A cut answer without the mark is a list of pods that ends somewhere; a longer one than asked for does not fit the program's buffer " +
			"or is lost as fragments on the way.",
		PerNode: true,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			name, _, err := largeName(ctx, env, client)
			if err != nil {
				return err
			}
			if err := env.Midway(ctx); err != nil {
				return err
			}
			for _, edns := range []int{0, ednsSize} {
				limit := max(edns, plainUDP)
				q := wire.DNS{Name: name, Type: recordOf(env.Family), EDNS: edns}
				err := env.Until(ctx, func(ctx context.Context) error {
					got, err := askServer(ctx, env, client, q)
					if err != nil || (got.Ok() && got.Truncated && got.Length <= limit) {
						return err
					}
					f := unlike(client, q, got, fmt.Sprintf("a truncated answer of at most %d bytes", limit))
					if got.Rcode != "" {
						f.Observed = fmt.Sprintf("%d records in %d bytes, truncated: %t, from %s", len(got.Answers), got.Length, got.Truncated, got.Server)
					}
					return f
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says:  "the asker's questions redirected to a resolver that answers with one address, not truncated",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.Midway(fault.InPodOf(world.Near, fault.LieAbout(world.LiarPort)))}},
			Red:   []requirement.Reason{requirement.WrongRecord},
		},
	}
}

func edns() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/edns",
		Title: "A question with EDNS(0) is answered, with the records and with EDNS in return.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://www.rfc-editor.org/rfc/rfc6891#section-7",
			Says: "Responders that speak EDNS put an OPT record into the answer to a question that has one; those that don't answer FORMERR.",
		},
		Why: "Most resolvers ask so by default. A server or a middlebox that fails on the OPT record costs each lookup a time-out before the second, " +
			"plain try.",
		PerNode: true,
		Roles:   []world.Role{world.Near}, Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			client, q := env.Role(world.Near), wire.DNS{Name: nameOf(env, world.Web), Type: recordOf(env.Family), EDNS: ednsSize}
			if err := hasRecords(ctx, env, client, q, ip); err != nil {
				return err
			}
			if env.Fixture(withoutEDNS) {
				q.EDNS = 0
			}
			got, err := askServer(ctx, env, client, q)
			if err != nil {
				return err
			}
			if got.EDNS == 0 {
				f := unlike(client, q, got, "an OPT record in the answer")
				f.Reason = requirement.WrongRecord
				return f
			}
			env.Note("the server announces %d bytes", got.EDNS)
			return nil
		},
		Control: lied(world.LiarPort, requirement.WrongRecord),
		MoreControls: []requirement.Control{{
			Says:    "the same question without EDNS, whose answer has the records and no OPT",
			Variant: &requirement.Variant{Fixture: withoutEDNS},
			Red:     []requirement.Reason{requirement.WrongRecord},
		}},
	}
}
