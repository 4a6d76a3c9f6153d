package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

var namespacesOfServices = requirement.Clause{
	URL: "https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#namespaces-of-services",
	Says: "A query without a namespace is limited to the pod's own namespace; to reach a Service of another namespace, name it " +
		"in the query.",
}

func withoutSearch() requirement.Control {
	return requirement.Control{
		Says:    "a pod whose dnsConfig has no searches",
		Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Near: world.NoSearch}},
		Red:     []requirement.Reason{requirement.NameLost},
	}
}

func shortName() requirement.Requirement {
	return searched("dns/short-name", "The bare name of a Service resolves to its cluster IP from a pod of its namespace.",
		"Manifests name their neighbours so. It rests on the first entry of the search list that the kubelet writes into resolv.conf.",
		func(s requirement.ServiceSeen) string { return s.Name })
}

func namespaceName() requirement.Requirement {
	return searched("dns/namespace-name", "name.namespace resolves to the Service's cluster IP.",
		"The usual name across namespaces. It rests on the second entry of the search list, svc.zone, and on ndots above 1.",
		func(s requirement.ServiceSeen) string { return s.Name + "." + s.Namespace })
}

func svcName() requirement.Requirement {
	return searched("dns/svc-name", "name.namespace.svc resolves to the Service's cluster IP.",
		"The API server calls webhooks by this name, and certificates carry it. It rests on the third entry of the search list, the cluster domain.",
		func(s requirement.ServiceSeen) string { return s.Name + "." + s.Namespace + ".svc" })
}

// searched is a name that only the search list makes whole.
func searched(id, title, why string, name func(requirement.ServiceSeen) string) requirement.Requirement {
	return requirement.Requirement{
		ID: id, Title: title, Level: requirement.Must, Clause: namespacesOfServices, Why: why,
		PerNode:  true,
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			return programGets(ctx, env, env.Role(world.Near), name(env.Service(world.Web)), familyOf(env.Family), ip)
		},
		Control: withoutSearch(),
	}
}

func fqdn() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/fqdn",
		Title:  "The full name with the dot at its end resolves to the cluster IP, by a single question.",
		Level:  requirement.Must,
		Clause: addressRecords,
		Why: "The dot keeps the search list out: one question in place of up to a handful. Busy clients are told to write it so, and it " +
			"works in pods whatever their resolv.conf.",
		PerNode:      true,
		Roles:        []world.Role{world.Near},
		Services:     []world.Service{world.Web},
		Check:        resolves(world.Web),
		Control:      lied(world.LiarPort, requirement.WrongRecord),
		MoreControls: []requirement.Control{liedToPrograms()},
	}
}

func undotted() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/fqdn-undotted",
		Title:  "The full name without the dot resolves to the cluster IP too: the cluster domain's part of the search list says no to it at once.",
		Level:  requirement.Must,
		Clause: addressRecords,
		Why: "With ndots:5 a name of four dots is first tried under every search domain, and each of these must fail at once and by name error. " +
			"One wrong answer in between and nearly every configuration file leads elsewhere. Search domains of the node's are asked of servers " +
			"outside: what those say (a wildcard, silence) is noted and not judged.",
		PerNode:  true,
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			name := strings.TrimSuffix(nameOf(env, world.Web), ".")
			if err := programGets(ctx, env, env.Role(world.Near), name, familyOf(env.Family), ip); err != nil {
				return err
			}
			return noteWholeSearch(ctx, env, name, ip)
		},
		Control: lied(world.LiarPort, requirement.WrongRecord),
	}
}

// noteWholeSearch tells what a program gets that asks for all of the search list, also for what is not the cluster's to answer.
func noteWholeSearch(ctx context.Context, env *requirement.Env, name, ip string) error {
	got, err := env.Role(world.Near).Resolve(ctx, wire.Resolve{Name: name, Family: familyOf(env.Family), Timeout: int(env.Attempt.Milliseconds())})
	if err != nil {
		return fmt.Errorf("asking %s to resolve %s: %w", env.Role(world.Near), name, err)
	}
	if got.Ok() && slices.Equal(got.Addresses, []string{ip}) {
		env.Note("%d questions, %.1f ms", len(got.Tried), float64(got.Took)/1000)
		return nil
	}
	env.Note("with the node's own search domains in between a program gets %s: write the dot at the name's end, or mend what answers for them",
		describeResolved(got))
	return nil
}

func crossNamespace() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/cross-namespace",
		Title:  "name.namespace resolves a Service of another namespace; its bare name leads to nothing in the cluster domain.",
		Level:  requirement.Must,
		Clause: namespacesOfServices,
		Why: "Two halves of one promise: other teams' Services can be reached by name, and a name of theirs can never take the place " +
			"of yours.",
		PerNode:  true,
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.Abroad},
		Check: func(ctx context.Context, env *requirement.Env) error {
			service, client := env.Service(world.Abroad), env.Role(world.Near)
			ip, err := clusterIP(env, world.Abroad)
			if err != nil {
				return err
			}
			if err := programGets(ctx, env, client, service.Name+"."+service.Namespace, familyOf(env.Family), ip); err != nil {
				return err
			}
			got, err := resolve(ctx, env, client, service.Name, familyOf(env.Family))
			if err != nil || got.Class == wire.NameError {
				return err
			}
			failure := unresolved(client, wire.Resolve{Name: service.Name, Family: familyOf(env.Family)}, got, fmt.Sprintf("the bare name not to resolve outside %s", service.Namespace))
			if got.Ok() {
				failure.Reason = requirement.Leaked
			}
			return failure
		},
		Control: requirement.Control{
			Says:    "a pod whose dnsConfig searches the other namespace",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Near: world.SearchesElsewhere}},
			Red:     []requirement.Reason{requirement.Leaked},
		},
		MoreControls: []requirement.Control{lied(world.LiarPort, requirement.WrongRecord)},
	}
}
