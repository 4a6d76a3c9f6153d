package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// programming is where the time from a change of the API to the answer by it comes from.
var programming = requirement.Clause{
	URL: "https://github.com/kubernetes/community/blob/master/sig-scalability/slos/dns_programming_latency.md",
	Says: "In-cluster DNS programming latency is the time from a change of a Service or of its ready pods to its being reflected in a DNS " +
		"instance. The document sets no figure; Parley allows 10 s and reports what it measured.",
}

const unchanged = "the change not made"

func notMade(red requirement.Reason) requirement.Control {
	return requirement.Control{Says: unchanged, Variant: &requirement.Variant{Fixture: unchanged}, Red: []requirement.Reason{red}}
}

func polled(ctx context.Context, within time.Duration, observe func(context.Context) error) (until.Seen, error) {
	seen, err := until.Settled(ctx, until.Policy{Within: within, Every: 10 * time.Millisecond}, observe)
	if f := requirement.AsFailure(err); f != nil {
		f.Attempts, f.Took = seen.Attempts, seen.Took
		return seen, f
	}
	return seen, err
}

func targetName(env *requirement.Env, s world.Service) string {
	return strings.TrimSuffix(nameOf(env, s), ".")
}

func externalNameFollows() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/external-name-follows",
		Title:  "When an ExternalName Service's target changes, its CNAME does within 10 s.",
		Level:  requirement.Must,
		Clause: programming,
		Why:    "The point of such a Service is that its target can be moved. Answers that stay behind send clients to what was switched off.",
		Roles:  []world.Role{world.Near}, Services: []world.Service{world.Web, world.Abroad},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			service, err := newExternalName(ctx, env)
			if err != nil {
				return err
			}
			q := wire.DNS{Name: fullName(env, service.Name, service.Namespace), Type: "CNAME"}
			if err := appears(ctx, env, client, q); err != nil {
				return err
			}
			if !env.Fixture(unchanged) {
				service.Spec.ExternalName = targetName(env, world.Abroad)
				if _, err := env.Kube.CoreV1().Services(service.Namespace).Update(ctx, service, metav1.UpdateOptions{}); err != nil {
					return fmt.Errorf("changing the Service's target: %w", err)
				}
			}
			return measured(ctx, env, "another ExternalName", func(ctx context.Context) error {
				return hasRecordsNow(ctx, env, client, q, nameOf(env, world.Abroad))
			})
		},
		Control: notMade(requirement.WrongRecord),
	}
}

// measured is follows, with a note of how long it took.
func measured(ctx context.Context, env *requirement.Env, what string, observe func(context.Context) error) error {
	took, err := follows(ctx, env, observe)
	if err == nil {
		env.Note("%s was seen after %s", what, took.Round(time.Millisecond))
		env.RecordConvergence("DNS shows "+what, requirement.ConvergenceSample{Node: env.Role(world.Near).Node, Family: string(env.Family), FirstRight: took})
	}
	return err
}

func serviceRecreated() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/service-recreated",
		Title:  "A Service that was deleted and made anew with another cluster IP resolves to the new one within 10 s.",
		Level:  requirement.Must,
		Clause: programming,
		Why: "Helm upgrades and restores re-create Services. A name service that keeps the old address sends all clients to a virtual IP that " +
			"nobody answers, or that another Service was given since.",
		Roles: []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			first, err := newService(ctx, env, ordinarySpec())
			if err != nil {
				return err
			}
			q := wire.DNS{Name: fullName(env, first.Name, first.Namespace), Type: recordOf(family(first))}
			if err := appears(ctx, env, client, q); err != nil {
				return err
			}
			want := nobody(env, 1).String()
			if !env.Fixture(unchanged) {
				second, err := recreate(ctx, env, first)
				if err != nil {
					return err
				}
				want = second.Spec.ClusterIP
			}
			return measured(ctx, env, "another cluster IP", func(ctx context.Context) error { return hasRecordsNow(ctx, env, client, q, want) })
		},
		Control: notMade(requirement.WrongRecord),
	}
}

func ordinarySpec() corev1.ServiceSpec {
	return corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "tcp", Port: world.ServicePort}}}
}

func family(s *corev1.Service) corev1.IPFamily { return s.Spec.IPFamilies[0] }

// recreate deletes the Service and makes it anew, with another address (the same by one chance in the size of the range).
func recreate(ctx context.Context, env *requirement.Env, service *corev1.Service) (*corev1.Service, error) {
	if err := env.Kube.CoreV1().Services(service.Namespace).Delete(ctx, service.Name, metav1.DeleteOptions{}); err != nil {
		return nil, fmt.Errorf("deleting the Service %s: %w", service.Name, err)
	}
	return makeService(ctx, env, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: service.Name}, Spec: ordinarySpec()})
}

func serviceRemoved() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/service-removed",
		Title:  "The name of a Service that was deleted is answered with NXDOMAIN within 10 s.",
		Level:  requirement.Must,
		Clause: programming,
		Why: "A name that stays leads to an address that is free to be given away: clients of the old Service then talk to another one, and " +
			"nothing tells them.",
		Roles: []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			service, err := newService(ctx, env, ordinarySpec())
			if err != nil {
				return err
			}
			q := wire.DNS{Name: fullName(env, service.Name, service.Namespace), Type: recordOf(family(service))}
			if err := appears(ctx, env, client, q); err != nil {
				return err
			}
			if !env.Fixture(unchanged) {
				if err := env.Kube.CoreV1().Services(service.Namespace).Delete(ctx, service.Name, metav1.DeleteOptions{}); err != nil {
					return fmt.Errorf("deleting the Service: %w", err)
				}
			}
			return measured(ctx, env, "the removal of a Service", func(ctx context.Context) error {
				got, err := askServer(ctx, env, client, q)
				if err != nil || got.Class == wire.NameError {
					return err
				}
				f := unlike(client, q, got, "NXDOMAIN")
				if len(got.Answers) > 0 {
					f.Reason = requirement.LeftOver
				}
				return f
			})
		},
		Control: notMade(requirement.LeftOver),
	}
}

func headlessFollows() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/headless-follows",
		Title:  "Endpoints of a headless Service that become ready, or cease to be, come and go in DNS within 10 s.",
		Level:  requirement.Must,
		Clause: programming,
		Why: "With no proxy in between this is the whole of a headless Service's readiness: until DNS follows, clients dial pods that are not " +
			"there, and the record's TTL comes on top.",
		Roles: []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			service, err := newService(ctx, env, headlessSpec())
			if err != nil {
				return err
			}
			slice, err := newSlice(ctx, env, service, endpoint(nobody(env, 1), true))
			if err != nil {
				return err
			}
			q := wire.DNS{Name: fullName(env, service.Name, service.Namespace), Type: recordOf(env.Family)}
			if err := appears(ctx, env, client, q); err != nil {
				return err
			}
			for _, step := range []struct {
				what  string
				ready []int
			}{{"an endpoint that became ready", []int{1, 2}}, {"an endpoint that ceased to be ready", []int{2}}} {
				var want []string
				slice.Endpoints = nil
				for i := 1; i <= 2; i++ {
					ready := slices.Contains(step.ready, i)
					slice.Endpoints = append(slice.Endpoints, endpoint(nobody(env, i), ready))
					if ready {
						want = append(want, nobody(env, i).String())
					}
				}
				if slice, err = change(ctx, env, slice); err != nil {
					return err
				}
				if err := measured(ctx, env, step.what, func(ctx context.Context) error { return hasRecordsNow(ctx, env, client, q, want...) }); err != nil {
					return err
				}
			}
			return nil
		},
		Control: notMade(requirement.WrongRecord),
	}
}

func change(ctx context.Context, env *requirement.Env, slice *discoveryv1.EndpointSlice) (*discoveryv1.EndpointSlice, error) {
	if env.Fixture(unchanged) {
		return slice, nil
	}
	changed, err := env.Kube.DiscoveryV1().EndpointSlices(slice.Namespace).Update(ctx, slice, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("changing the EndpointSlice: %w", err)
	}
	return changed, nil
}
