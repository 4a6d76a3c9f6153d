package service

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

var dualStackServices = requirement.Clause{
	URL: "https://kubernetes.io/docs/concepts/services-networking/dual-stack/#services",
	Says: "ipFamilyPolicy says whether a Service gets one cluster IP or one of each family, ipFamilies which and in which order; the first is also " +
		"spec.clusterIP.",
}

var bothFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}

func dualStack() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/dual-stack",
		Title:  "A dual-stack ClusterIP Service answers on both of its cluster IPs, over TCP and UDP, from a pod on every node.",
		Level:  requirement.Optional,
		Clause: dualStackServices,
		Why: "Clients take whichever address their resolver names first, so one dead family is slowness for some and an outage for others. " +
			"Proxies keep the rules of the two families apart, and one set can be missing.",
		Roles:    []world.Role{world.Everywhere, world.WebNear},
		Wants:    []world.Role{world.WebFar},
		Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			service := env.Service(world.Web)
			if len(service.Spec.ClusterIPs) < 2 {
				return &requirement.Unsupported{Probed: fmt.Sprintf("the Service %s, with ipFamilyPolicy PreferDualStack, was given %v", service.Name, service.Spec.ClusterIPs)}
			}
			for _, client := range env.Roles(world.Everywhere) {
				for _, family := range bothFamilies {
					ip, ok := service.ClusterIP(family)
					if !ok {
						return &requirement.Failure{Reason: requirement.Missing, From: client, Target: service.Name, Protocol: "spec.clusterIPs",
							Expected: "one cluster IP of each family", Observed: fmt.Sprint(service.Spec.ClusterIPs)}
					}
					for i, protocol := range bothProtocols {
						if _, err := fromPort(ctx, env, i, exchange.Talk{From: client, Among: env.Roles(world.WebNear, world.WebFar), Network: protocol,
							Dial: requirement.At(ip, world.ServicePort)}); err != nil {
							return err
						}
					}
				}
			}
			return nil
		},
		Control: dropIPv6,
	}
}

// dropIPv6 drops what a requirement sends over IPv6 from its own source ports.
var dropIPv6 = requirement.Control{
	Says: "IPv6 dropped before one client",
	Fault: &requirement.Fault{Points: []requirement.Point{
		fault.InPodOf(world.Everywhere, fault.OnlyFamily(corev1.IPv6Protocol, fault.DropFrom("output", bothProtocols...))),
	}},
	Red: []requirement.Reason{requirement.NoAnswer},
}

func ipFamilies() requirement.Requirement {
	return requirement.Requirement{
		ID: "service/ip-families",
		Title: "A Service gets cluster IPs and EndpointSlices of the families that it asks for, and no others, in the order that it asks for, " +
			"and answers on them.",
		Level:  requirement.Optional,
		Clause: dualStackServices,
		Why: "Software that listens on one family alone is put behind a Service of that family. A cluster IP of another one would lead to a " +
			"port where nobody listens.",
		Roles: []world.Role{world.Everywhere, world.WebNear},
		Check: func(ctx context.Context, env *requirement.Env) error {
			const one, two = corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyRequireDualStack
			for _, c := range []struct {
				policy   corev1.IPFamilyPolicy
				families []corev1.IPFamily
			}{
				{two, []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}}, {two, bothFamilies}, {one, bothFamilies[:1]}, {one, bothFamilies[1:]},
			} {
				server := env.Role(world.WebNear)
				service, err := ownService(ctx, env, server.Namespace, corev1.ServiceSpec{IPFamilyPolicy: &c.policy, IPFamilies: c.families,
					Selector: map[string]string{world.PodLabel: server.Pod}, Ports: onePort(world.TargetPort)})
				if apierrors.IsInvalid(err) {
					return &requirement.Unsupported{Probed: fmt.Sprintf("the API server refuses a Service of %s %v: %s", c.policy, c.families, err)}
				}
				if err != nil {
					return err
				}
				if err := hasFamilies(ctx, env, service, c.families); err != nil {
					return err
				}
				for _, family := range c.families {
					ip, _ := service.ClusterIP(family)
					if _, err := fromPort(ctx, env, 0, exchange.Talk{From: env.Role(world.Everywhere), To: server, Network: "tcp",
						Dial: requirement.At(ip, world.ServicePort)}); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Control: dropIPv6,
	}
}

// hasFamilies judges the Service's cluster IPs and its EndpointSlices.
func hasFamilies(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, want []corev1.IPFamily) error {
	fail := func(what, observed string) error {
		return &requirement.Failure{Reason: requirement.WrongSetting, Target: service.Namespace + "/" + service.Name, Protocol: "api",
			Expected: fmt.Sprintf("%s of %v, in this order", what, want), Observed: observed,
			Again: "kubectl get service -n " + service.Namespace + " " + service.Name + " -o yaml"}
	}
	var got []corev1.IPFamily
	for _, text := range service.Spec.ClusterIPs {
		family := corev1.IPv4Protocol
		if addr, err := parseIP(text); err != nil {
			return err
		} else if addr.Is6() {
			family = corev1.IPv6Protocol
		}
		got = append(got, family)
	}
	if !slices.Equal(got, want) || service.Spec.ClusterIP != service.Spec.ClusterIPs[0] {
		return fail("cluster IPs", fmt.Sprintf("%v, spec.clusterIP %s", service.Spec.ClusterIPs, service.Spec.ClusterIP))
	}
	_, err := until.Settled(ctx, until.Policy{Within: settleWithin}, func(ctx context.Context) error {
		list, err := env.Kube.DiscoveryV1().EndpointSlices(service.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
		if err != nil {
			return fmt.Errorf("listing the EndpointSlices of %s: %w", service.Name, err)
		}
		var types []corev1.IPFamily
		for _, slice := range list.Items {
			if len(slice.Endpoints) > 0 {
				types = append(types, corev1.IPFamily(slice.AddressType))
			}
		}
		slices.Sort(types)
		sorted := slices.Sorted(slices.Values(want))
		if !slices.Equal(slices.Compact(types), sorted) {
			return fail("EndpointSlices", fmt.Sprintf("addresses of %v", types))
		}
		return nil
	})
	if f := requirement.AsFailure(err); f != nil {
		return f
	}
	return err
}
