package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

var namespacesOfServices = requirement.Clause{
	URL: "https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#namespaces-of-services",
	Says: "A query without a namespace is limited to the pod's own namespace; to reach a Service of another namespace, name it " +
		"in the query.",
}

func shortName() requirement.Requirement {
	return requirement.Requirement{
		ID:       "dns/short-name",
		Title:    "The bare name of a Service resolves to its cluster IP from a pod of its namespace.",
		Level:    requirement.Must,
		Clause:   namespacesOfServices,
		Why:      "Manifests name their neighbours so. It rests on the search list that the kubelet writes into resolv.conf.",
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			service := env.Service(world.Web)
			return resolves(ctx, env, service.Name, service)
		},
		Control: requirement.Control{
			Says:    "a pod whose dnsConfig has no searches",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Near: world.NoSearch}},
			Red:     []requirement.Reason{requirement.NameLost},
		},
	}
}

func crossNamespace() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/cross-namespace",
		Title:  "name.namespace resolves a Service of another namespace; its bare name does not.",
		Level:  requirement.Must,
		Clause: namespacesOfServices,
		Why: "Two halves of one promise: other teams' Services can be reached by name, and a name of theirs can never take the place " +
			"of yours.",
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.Abroad},
		Check: func(ctx context.Context, env *requirement.Env) error {
			service, client := env.Service(world.Abroad), env.Role(world.Near)
			if err := resolves(ctx, env, service.Name+"."+service.Namespace, service); err != nil {
				return err
			}
			got, err := resolve(ctx, client, service.Name, "ip4")
			if err != nil || got.Class == wire.NameError {
				return err
			}
			failure := &requirement.Failure{Reason: requirement.Leaked, From: client, Target: service.Name, Protocol: "dns by resolv.conf",
				Expected: "the bare name not to resolve outside its namespace", Observed: describeResolved(got)}
			if !got.Ok() {
				failure.Reason = requirement.ReasonOf(got.Errno)
			}
			return failure
		},
		Control: requirement.Control{
			Says:    "a pod whose dnsConfig searches the other namespace",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Near: world.SearchesElsewhere}},
			Red:     []requirement.Reason{requirement.Leaked},
		},
	}
}

func resolves(ctx context.Context, env *requirement.Env, name string, service requirement.ServiceSeen) error {
	client := env.Role(world.Near)
	ip, ok := service.ClusterIP(corev1.IPv4Protocol)
	family := "ip4"
	if !ok {
		if ip, ok = service.ClusterIP(corev1.IPv6Protocol); !ok {
			return fmt.Errorf("the Service %s/%s has no cluster IP", service.Namespace, service.Name)
		}
		family = "ip6"
	}
	return env.Until(ctx, func(ctx context.Context) error {
		got, err := resolve(ctx, client, name, family)
		if err != nil {
			return err
		}
		if got.Ok() && slices.Equal(got.Addresses, []string{ip.String()}) {
			return nil
		}
		reason := requirement.WrongRecord
		if !got.Ok() {
			reason = requirement.ReasonOf(got.Errno)
		}
		return &requirement.Failure{Reason: reason, From: client, Target: name, Protocol: "dns by resolv.conf", Expected: ip.String(),
			Observed: describeResolved(got), Again: "getent ahosts " + name}
	})
}

func resolve(ctx context.Context, client *requirement.End, name, family string) (wire.Resolved, error) {
	got, err := client.Resolve(ctx, wire.Resolve{Name: name, Family: family})
	if err != nil {
		return got, fmt.Errorf("asking %s to resolve %s: %w", client, name, err)
	}
	return got, nil
}

func describeResolved(got wire.Resolved) string {
	if got.Ok() {
		return strings.Join(got.Addresses, ", ") + " by " + got.From
	}
	return got.Errno.String() + "; tried " + strings.Join(got.Tried, ", ")
}
