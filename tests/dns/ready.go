package dns

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/tests/internal/dnscache"
)

func readyOnly() requirement.Requirement {
	const both = "both endpoints ready"
	return requirement.Requirement{
		ID:     "dns/headless-ready-only",
		Title:  "The name of a headless Service does not have the addresses of endpoints that are not ready.",
		Level:  requirement.Must,
		Clause: headlessRecords,
		Why: "With no proxy in between, DNS alone keeps clients away from a pod that is starting or ending. An address too many is a connection " +
			"refused, some of the time.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			service, err := newService(ctx, env, headlessSpec())
			if err != nil {
				return err
			}
			if _, err := newSlice(ctx, env, service, endpoint(nobody(env, 1), true), endpoint(nobody(env, 2), env.Fixture(both))); err != nil {
				return err
			}
			client, q := env.Role(world.Near), wire.DNS{Name: fullName(env, service.Name, service.Namespace), Type: recordOf(env.Family)}
			if _, err := appears(ctx, env, client, q); err != nil {
				return err
			}
			return hasRecords(ctx, env, client, q, nobody(env, 1).String())
		},
		Control: requirement.Control{
			Says: both, Variant: &requirement.Variant{Fixture: both}, Red: []requirement.Reason{requirement.WrongRecord},
		},
	}
}

// appears waits until a new name is known, also under a control: what the check is about comes after it. It tells how long the
// answers may be kept.
func appears(ctx context.Context, env *requirement.Env, client *requirement.End, q wire.DNS) (*dnscache.Keeping, error) {
	kept := &dnscache.Keeping{}
	if q.Source == "" {
		q.Source = source(env, spare)
	}
	_, err := polled(ctx, env, until.Policy{Within: followMargin, Longer: allowedBy(kept)}, func(ctx context.Context) error {
		got, err := askServer(ctx, env, client, q)
		kept.Saw(got)
		if err != nil || (got.Ok() && len(got.Answers) > 0) || got.Truncated {
			return err
		}
		return unlike(client, q, got, fmt.Sprintf("the new name's records within %s and the time that an earlier no may be kept, %s", followMargin, kept.Longest()))
	})
	return kept, keptTooLong(kept, err)
}

func publishNotReady() requirement.Requirement {
	const unset = "publishNotReadyAddresses not set"
	return requirement.Requirement{
		ID:    "dns/publish-not-ready",
		Title: "With publishNotReadyAddresses the name of a headless Service has the addresses of pods that are not ready, too.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/#ServiceSpec",
			Says: "publishNotReadyAddresses: any agent which deals with endpoints for this Service should disregard ready and not-ready; its " +
				"use is to propagate SRV records of a StatefulSet's pods for peer discovery.",
		},
		Why: "Members of a database become ready only after they have found each other. Without this the first of them waits for the others' " +
			"names, and none ever gets ready.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			pod := env.NewPod(client.Node, world.Container("agent"))
			// Nobody ever sets this condition: the pod runs and is never ready.
			pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "parley.dev/never"}}
			service, err := newService(ctx, env, corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{world.PodLabel: pod.Labels[world.PodLabel]},
				PublishNotReadyAddresses: !env.Fixture(unset), Ports: []corev1.ServicePort{{Name: "tcp", Port: world.TargetPort}}})
			if err != nil {
				return err
			}
			started, err := env.StartUntil(ctx, pod, func(p *corev1.Pod) bool { return p.Status.PodIP != "" })
			if err != nil {
				return err
			}
			ip, err := env.IP(started.Ends["agent"])
			if err != nil {
				return err
			}
			name := fullName(env, service.Name, service.Namespace)
			var kept dnscache.Keeping
			took, err := follows(ctx, env, &kept, func(ctx context.Context) error {
				return hasRecordsNow(ctx, env, client, &kept, wire.DNS{Name: name, Type: recordOf(env.Family)}, ip.String())
			})
			if err == nil {
				env.Note("the pod's address was there %.0f ms after its IP was told", float64(took.Microseconds())/1000)
			}
			return err
		},
		Control: requirement.Control{
			Says: unset, Variant: &requirement.Variant{Fixture: unset}, Red: []requirement.Reason{requirement.NameLost},
		},
	}
}

func externalName() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/external-name",
		Title: "The name of an ExternalName Service is a CNAME to its target.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  specification + "#25---records-for-external-name-services",
			Says: "A Service with an ExternalName has a CNAME record from service.namespace.svc.zone to that name.",
		},
		Why:     "It gives something outside, or in another namespace, a local name, so that a move is one change of one Service.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near}, Services: []world.Service{world.Web, world.Abroad},
		Check: func(ctx context.Context, env *requirement.Env) error {
			service, err := newExternalName(ctx, env)
			if err != nil {
				return err
			}
			q := wire.DNS{Name: fullName(env, service.Name, service.Namespace), Type: "CNAME"}
			if _, err := appears(ctx, env, env.Role(world.Near), q); err != nil {
				return err
			}
			return hasRecords(ctx, env, env.Role(world.Near), q, nameOf(env, world.Web))
		},
		Control: toAnotherTarget(),
	}
}

func externalNameResolves() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/external-name-resolves",
		Title: "Asked for an address, an ExternalName Service's name gives its CNAME and the address of the target, in one answer.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: specification + "#25---records-for-external-name-services",
			Says: "The answer to a question for A (or AAAA) has the CNAME record and the target's address record, as its example shows; RFC 1034 " +
				"4.3.2 has servers follow a CNAME that they can.",
		},
		Why: "Stub resolvers in libc and musl do not follow a CNAME themselves: without the address in the same answer the name resolves to " +
			"nothing.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near}, Services: []world.Service{world.Web, world.Abroad},
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			service, err := newExternalName(ctx, env)
			if err != nil {
				return err
			}
			q := wire.DNS{Name: fullName(env, service.Name, service.Namespace), Type: recordOf(env.Family)}
			if _, err := appears(ctx, env, env.Role(world.Near), q); err != nil {
				return err
			}
			if err := hasRecords(ctx, env, env.Role(world.Near), q, nameOf(env, world.Web), ip); err != nil {
				return err
			}
			return programGetsNew(ctx, env, env.Role(world.Near), wire.Resolve{Name: service.Name, Family: familyOf(env.Family)}, ip)
		},
		Control: toAnotherTarget(),
	}
}

const otherTarget = "another target"

func toAnotherTarget() requirement.Control {
	return requirement.Control{
		Says: otherTarget, Variant: &requirement.Variant{Fixture: otherTarget}, Red: []requirement.Reason{requirement.WrongRecord},
	}
}

// newExternalName leads to the Service Web, or under the control to another.
func newExternalName(ctx context.Context, env *requirement.Env) (*corev1.Service, error) {
	target := world.Web
	if env.Fixture(otherTarget) {
		target = world.Abroad
	}
	service, err := newService(ctx, env, corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: targetName(env, target)})
	if err != nil {
		return nil, fmt.Errorf("of type ExternalName: %w", err)
	}
	return service, nil
}
