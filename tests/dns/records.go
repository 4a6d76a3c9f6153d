package dns

import (
	"context"
	"fmt"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

var addressRecords = requirement.Clause{
	URL: specification + "#231---aaaaa-record",
	Says: "A Service with an IPv4 cluster IP has an A record of that address under service.namespace.svc.zone, one with an IPv6 " +
		"cluster IP an AAAA record.",
}

func serviceA() requirement.Requirement {
	return addressOf("dns/service-a", "The full name of a ClusterIP Service has one A record, its cluster IP.", requirement.Must,
		"A name is how nearly every client finds a Service. A stale or foreign answer sends it elsewhere without an error. It is asked "+
			"of the server by a DNS library, and through resolv.conf as a program would.", corev1.IPv4Protocol)
}

func serviceAAAA() requirement.Requirement {
	return addressOf("dns/service-aaaa", "The full name of a Service with an IPv6 cluster IP has one AAAA record, that address.", requirement.Optional,
		"Programs ask for both families and prefer IPv6. A Service of two families that answers for one alone leaves half of a migration "+
			"untested until the day when the other goes.", corev1.IPv6Protocol)
}

func addressOf(id, title string, level requirement.Level, why string, family corev1.IPFamily) requirement.Requirement {
	return requirement.Requirement{
		ID: id, Title: title, Level: level, Clause: addressRecords, Why: why,
		OneNode:  serversAnswer,
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, ok := env.Service(world.Web).ClusterIP(family)
			if !ok {
				return &requirement.Unsupported{Probed: fmt.Sprintf("the cluster gives Services no cluster IP of %s", family)}
			}
			client, name := env.Role(world.Near), nameOf(env, world.Web)
			if err := resolvesTo(ctx, env, client, name, family, ip.String()); err != nil {
				return err
			}
			got, err := askServer(ctx, env, client, wire.DNS{Name: name, Type: recordOf(family)})
			if err == nil && len(got.Records) > 0 {
				env.Note("the record's TTL is %s s: a client that keeps answers sees a change so much later", strings.Fields(got.Records[0])[1])
			}
			return err
		},
		Control:      lied(world.LiarPort, requirement.WrongRecord),
		MoreControls: []requirement.Control{liedToPrograms()},
	}
}

func serviceSRV() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/service-srv",
		Title: "Each named port of a ClusterIP Service has one SRV record, with the port's number and the Service's name.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: specification + "#232---srv-records",
			Says: "For each named port there is an SRV record under _port._protocol.service.namespace.svc.zone that gives the port's number and " +
				"the Service's own name; priority and weight are left open.",
		},
		Why: "gRPC, LDAP, SIP and database drivers find a port by its name and protocol this way, and keep working when its number changes. " +
			"TCP and UDP of one number are two records.",
		OneNode:  serversAnswer,
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			name := nameOf(env, world.Web)
			for _, port := range env.Service(world.Web).Spec.Ports {
				question := fmt.Sprintf("_%s._%s.%s", port.Name, strings.ToLower(string(port.Protocol)), name)
				if err := hasRecords(ctx, env, env.Role(world.Near), wire.DNS{Name: question, Type: "SRV"}, fmt.Sprintf("%d %s", port.Port, name)); err != nil {
					return err
				}
			}
			return nil
		},
		Control: lied(world.LiarPort, requirement.WrongRecord),
	}
}

func servicePTR() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/service-ptr",
		Title: "A cluster IP leads back to its Service's name by one PTR record.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  specification + "#233---ptr-record",
			Says: "A Service's cluster IP has a PTR record under in-addr.arpa or ip6.arpa whose value is service.namespace.svc.zone.",
		},
		Why: "Logs, Kerberos and TLS libraries turn an address into a name. A reverse zone that the cluster does not answer for goes to the " +
			"upstream instead, which tells strangers of it and takes as long as they do.",
		OneNode:   serversAnswer,
		Roles:     []world.Role{world.Near},
		Services:  []world.Service{world.Web},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			return leadsBack(ctx, env, ip, nameOf(env, world.Web))
		},
		Control: lied(world.LiarPort, requirement.WrongRecord),
	}
}

// leadsBack says whether the address has exactly the one name.
func leadsBack(ctx context.Context, env *requirement.Env, ip, name string) error {
	reverse, err := dns.ReverseAddr(ip)
	if err != nil {
		return fmt.Errorf("making the reverse name of %s: %w", ip, err)
	}
	return hasRecords(ctx, env, env.Role(world.Near), wire.DNS{Name: reverse, Type: "PTR"}, name)
}

func kubernetesName() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/kubernetes",
		Title: "kubernetes.default resolves to the API server's cluster IP, by its short and by its full name.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/dns.go",
			Says: "A conformance test (\"should provide DNS for the cluster\") looks kubernetes.default up from a pod, and its full name over UDP " +
				"and TCP.",
		},
		Why:     "Clients that run in a pod and don't read the Service's environment variables reach the API by this name; the API server's certificate carries it.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			service, err := env.Kube.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
			if err != nil {
				return fmt.Errorf("reading the Service default/kubernetes: %w", err)
			}
			seen := requirement.ServiceSeen{Service: service}
			for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
				ip, ok := seen.ClusterIP(family)
				if !ok {
					continue
				}
				client := env.Role(world.Near)
				if err := programGets(ctx, env, client, "kubernetes.default", familyOf(family), ip.String()); err != nil {
					return err
				}
				if err := resolvesTo(ctx, env, client, fullName(env, "kubernetes", metav1.NamespaceDefault), family, ip.String()); err != nil {
					return err
				}
			}
			return nil
		},
		Control:      lied(world.LiarPort, requirement.WrongRecord),
		MoreControls: []requirement.Control{liedToPrograms()},
	}
}

func noEndpoints() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/service-without-endpoints",
		Title:  "A ClusterIP Service without endpoints resolves to its cluster IP all the same.",
		Level:  requirement.Must,
		Clause: addressRecords,
		Why: "Its record rests on the Service alone. Were it gone while no pod is ready, clients would keep a negative answer beyond that, and " +
			"a refused connection would turn into a name that seems misspelt. (CoreDNS does so with ignore empty_service.)",
		OneNode:      serversAnswer,
		Roles:        []world.Role{world.Near},
		Services:     []world.Service{world.Empty},
		Check:        resolves(world.Empty),
		Control:      lied(world.LiarNoNamePort, requirement.NameLost),
		MoreControls: []requirement.Control{liedToPrograms()},
	}
}

func anyCase() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/case-insensitive",
		Title: "A name is found in whatever letters it is asked, large or small.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  specification + "#21---definitions",
			Says: "All comparisons between query data and data in Kubernetes are case-insensitive (as RFC 4343 demands of all DNS).",
		},
		Why: "People write names as they please, and resolvers that mix cases at random to make forging harder (0x20) do so with every " +
			"question: to a server that minds, one in many of their lookups fails.",
		OneNode:  serversAnswer,
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			name := nameOf(env, world.Web)
			for _, asked := range []string{strings.ToUpper(name), mixed(name)} {
				if err := resolvesTo(ctx, env, env.Role(world.Near), asked, env.Family, ip); err != nil {
					return err
				}
			}
			return nil
		},
		Control:      lied(world.LiarNoNamePort, requirement.NameLost),
		MoreControls: []requirement.Control{liedToPrograms()},
	}
}

// mixed has every second letter large.
func mixed(name string) string {
	b := []byte(name)
	for i := 0; i < len(b); i += 2 {
		b[i] = strings.ToUpper(string(b[i]))[0]
	}
	return string(b)
}

func schemaVersion() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/schema-version",
		Title: "dns-version.zone has a TXT record with the version of the DNS schema, 1.x.y.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  specification + "#22---record-for-schema-version",
			Says: "There must be a TXT record named dns-version.zone with the semantic version of the schema in use; the document describes 1.1.0.",
		},
		Why:     "It is how a client, or this suite, learns by DNS alone that a Kubernetes name service answers, and by which rules.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client, q := env.Role(world.Near), wire.DNS{Name: "dns-version." + env.World.Domain + ".", Type: "TXT"}
			return env.Until(ctx, func(ctx context.Context) error {
				got, err := askServer(ctx, env, client, q)
				if err != nil {
					return err
				}
				if got.Ok() && len(got.Answers) == 1 && strings.HasPrefix(got.Answers[0], `"1.`) {
					return nil
				}
				return unlike(client, q, got, `TXT "1.x.y"`)
			})
		},
		Control: lied(world.LiarPort, requirement.WrongRecord),
	}
}
