package dns

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

var headlessRecords = requirement.Clause{
	URL: specification + "#241---aaaaa-records",
	Says: "A headless Service has an address record for each ready endpoint, and under hostname.service.namespace.svc.zone one for each " +
		"ready endpoint with that hostname; without ready endpoints the answer should be NXDOMAIN.",
}

// members is a row about the Service Members and its endpoints.
func members(q requirement.Requirement, red ...requirement.Reason) requirement.Requirement {
	q.Level, q.PerFamily = requirement.Must, true
	q.Roles, q.Wants = []world.Role{world.Near, world.MemberNear}, []world.Role{world.MemberFar}
	q.Services, q.OneNode = []world.Service{world.Members}, serversAnswer
	if q.Control.Says == "" {
		q.Control = requirement.Control{
			Says:    "a ClusterIP Service in its place",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.Members: world.Web}},
			Red:     red,
		}
	}
	return q
}

func membersOf(env *requirement.Env) []*requirement.End {
	return append(env.Roles(world.MemberNear), env.Roles(world.MemberFar)...)
}

// hostnameOf is a member's name under the headless Service.
func hostnameOf(end *requirement.End) string {
	if end.Role == world.MemberFar {
		return world.MemberFarName
	}
	return world.MemberNearName
}

func headlessAddresses() requirement.Requirement {
	return members(requirement.Requirement{
		ID:     "dns/headless-records",
		Title:  "The name of a headless Service has one address record for each ready endpoint, and no other.",
		Clause: headlessRecords,
		Why: "Clients that balance for themselves (gRPC, database drivers) and cluster software that looks for its peers see exactly these pods: " +
			"one missing gets no work, one too many gets connections that fail.",
		Check: func(ctx context.Context, env *requirement.Env) error {
			var want []string
			for _, end := range membersOf(env) {
				ip, err := env.IP(end)
				if err != nil {
					return err
				}
				want = append(want, ip.String())
			}
			return resolvesTo(ctx, env, env.Role(world.Near), nameOf(env, world.Members), env.Family, want...)
		},
		MoreControls: []requirement.Control{liedToPrograms()},
	}, requirement.WrongRecord)
}

func headlessHostname() requirement.Requirement {
	return members(requirement.Requirement{
		ID:     "dns/headless-hostname",
		Title:  "A pod with a hostname and the Service's name as its subdomain resolves as hostname.subdomain.namespace.svc.zone.",
		Clause: headlessRecords,
		Why: "StatefulSets give each replica a name that stays while its IP changes; replicas and clients that must reach one of them in " +
			"particular use it. Other pods must find it, not only the pod's own /etc/hosts.",
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, end := range membersOf(env) {
				ip, err := env.IP(end)
				if err != nil {
					return err
				}
				name := hostnameOf(end) + "." + nameOf(env, world.Members)
				if err := resolvesTo(ctx, env, env.Role(world.Near), name, env.Family, ip.String()); err != nil {
					return err
				}
			}
			return nil
		},
		MoreControls: []requirement.Control{liedToPrograms()},
	}, requirement.NameLost)
}

func headlessSRV() requirement.Requirement {
	return members(requirement.Requirement{
		ID:    "dns/headless-srv",
		Title: "Each named port of a headless Service has one SRV record for each ready endpoint, with the endpoint's own name.",
		Clause: requirement.Clause{
			URL: specification + "#242---srv-records",
			Says: "For each ready endpoint and each named port there is an SRV record under _port._protocol.service.namespace.svc.zone whose " +
				"target is hostname.service.namespace.svc.zone: N endpoints and M ports make N times M.",
		},
		Why: "etcd, MongoDB and XMPP servers find all their members and their ports by this one question.",
		Check: func(ctx context.Context, env *requirement.Env) error {
			service := env.Service(world.Members)
			name := nameOf(env, world.Members)
			for _, protocol := range []string{"tcp", "udp"} {
				var want []string
				for _, end := range membersOf(env) {
					want = append(want, fmt.Sprintf("%d %s.%s", service.Spec.Ports[0].Port, hostnameOf(end), name))
				}
				q := wire.DNS{Name: fmt.Sprintf("_%s._%s.%s", protocol, protocol, name), Type: "SRV"}
				if err := hasRecords(ctx, env, env.Role(world.Near), q, want...); err != nil {
					return err
				}
			}
			return noteTargetPort(ctx, env)
		},
	}, requirement.WrongRecord)
}

// noteTargetPort tells which port an SRV record has where a headless Service's port is not its target port: the specification
// says the Service's, and where nothing translates only the target port answers.
func noteTargetPort(ctx context.Context, env *requirement.Env) error {
	got, err := askServer(ctx, env, env.Role(world.Near), wire.DNS{Name: "_tcp._tcp." + fullName(env, string(world.Headless), env.Namespace()), Type: "SRV"})
	if err == nil && len(got.Answers) > 0 {
		env.Note("SRV of a headless Service with port %d and target port %d: %s", world.ServicePort, world.TargetPort, got.Answers[0])
	}
	return err
}

func headlessPTR() requirement.Requirement {
	return members(requirement.Requirement{
		ID:    "dns/headless-ptr",
		Title: "The IP of a headless Service's endpoint leads back to the endpoint's own name.",
		Clause: requirement.Clause{
			URL:  specification + "#243---ptr-records",
			Says: "A ready endpoint with a hostname has a PTR record whose value is hostname.service.namespace.svc.zone.",
		},
		Why: "Hadoop, Kerberos and some TLS set-ups look the peer's address up and refuse a peer whose name does not come back.",
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, end := range membersOf(env) {
				ip, err := env.IP(end)
				if err != nil {
					return err
				}
				if err := leadsBack(ctx, env, ip.String(), hostnameOf(end)+"."+nameOf(env, world.Members)); err != nil {
					return err
				}
			}
			return nil
		},
		Control: lied(world.LiarPort, requirement.WrongRecord),
	})
}

func headlessEmpty() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/headless-without-endpoints",
		Title:  "The name of a headless Service without ready endpoints is answered with NXDOMAIN.",
		Level:  requirement.Should,
		Clause: headlessRecords,
		Why: "A client learns at once that there is nobody yet. An old answer in its place sends it to pods that are gone; SERVFAIL makes it " +
			"doubt the resolver instead of the Service.",
		OneNode:  serversAnswer,
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.HeadlessEmpty},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client, q := env.Role(world.Near), wire.DNS{Name: nameOf(env, world.HeadlessEmpty), Type: recordOf(env.Family)}
			return env.Until(ctx, func(ctx context.Context) error {
				got, err := askServer(ctx, env, client, q)
				if err != nil || got.Class == wire.NameError {
					return err
				}
				f := unlike(client, q, got, "NXDOMAIN")
				if len(got.Answers) > 0 {
					f.Reason = requirement.Answered
				}
				return f
			})
		},
		Control: requirement.Control{
			Says: "a headless Service with endpoints",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.HeadlessEmpty: world.Members},
				Roles: map[world.Role]world.Role{world.MemberNear: world.MemberNear}}, // so that it has an endpoint
			Red: []requirement.Reason{requirement.Answered},
		},
	}
}

func podRecord() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/pod-record",
		Title: "A pod resolves as its IP with dashes, under namespace.pod.zone.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#a-aaaa-records-1",
			Says: "A pod has the DNS resolution pod-ipv4-address.namespace.pod.cluster-domain, the address with dashes in place of dots.",
		},
		Why: "Wildcard certificates cover *.namespace.pod.zone, so that pods can be addressed one by one under TLS. Some name services leave " +
			"these records out, or answer for any address (CoreDNS with pods insecure): it is no proof that the pod exists.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near},
		Wants:   []world.Role{world.Far},
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, end := range append(env.Roles(world.Near), env.Roles(world.Far)...) {
				ip, ok := end.IP(corev1.IPv4Protocol)
				if !ok {
					return &requirement.Unsupported{Probed: "pods have no IPv4 address, and the documents name no form for others"}
				}
				name := fmt.Sprintf("%s.%s.pod.%s.", dashed(ip), end.Namespace, env.World.Domain)
				if err := resolvesTo(ctx, env, env.Role(world.Near), name, corev1.IPv4Protocol, ip.String()); err != nil {
					return err
				}
			}
			return nil
		},
		MoreControls: []requirement.Control{liedToPrograms()},
		Control:      lied(world.LiarPort, requirement.WrongRecord),
	}
}
