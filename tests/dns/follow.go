package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/dnscache"
)

// programming is where the time from a change of the API to the answer by it comes from.
var programming = requirement.Clause{
	URL: "https://github.com/kubernetes/community/blob/master/sig-scalability/slos/dns_programming_latency.md",
	Says: "In-cluster DNS programming latency is the time from a change of a Service or of its ready pods to its being reflected in a DNS " +
		"instance. The document sets no figure: Parley allows 10 s, and caches as long again as the TTL that they were given " +
		"(RFC 1035; RFC 2308 for NXDOMAIN), and reports what it measured.",
}

const unchanged = "the change not made"

func notMade(red requirement.Reason) requirement.Control {
	return requirement.Control{Says: unchanged, Variant: &requirement.Variant{Fixture: unchanged}, Red: []requirement.Reason{red}}
}

func targetName(env *requirement.Env, s world.Service) string {
	return strings.TrimSuffix(nameOf(env, s), ".")
}

func externalNameFollows() requirement.Requirement {
	return requirement.Requirement{
		ID:      "dns/external-name-follows",
		Title:   "When an ExternalName Service's target changes, its CNAME does within 10 s and the time that the old answer's TTL lets it be kept.",
		Level:   requirement.Must,
		Clause:  programming,
		Why:     "The point of such a Service is that its target can be moved. Answers that stay behind send clients to what was switched off.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near}, Services: []world.Service{world.Web, world.Abroad},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			service, err := newExternalName(ctx, env)
			if err != nil {
				return err
			}
			q := wire.DNS{Name: fullName(env, service.Name, service.Namespace), Type: "CNAME"}
			kept, err := appears(ctx, env, client, q)
			if err != nil {
				return err
			}
			if !env.Fixture(unchanged) {
				service.Spec.ExternalName = targetName(env, world.Abroad)
				if _, err := env.Kube.CoreV1().Services(service.Namespace).Update(ctx, service, metav1.UpdateOptions{}); err != nil {
					return fmt.Errorf("changing the Service's target: %w", err)
				}
			}
			return measured(ctx, env, kept, "another ExternalName", func(ctx context.Context) error {
				return hasRecordsNow(ctx, env, client, kept, q, nameOf(env, world.Abroad))
			})
		},
		Control: notMade(requirement.WrongRecord),
	}
}

// measured is follows, with a note of how long it took.
func measured(ctx context.Context, env *requirement.Env, kept *dnscache.Keeping, what string, observe func(context.Context) error) error {
	took, err := follows(ctx, env, kept, observe)
	if err == nil {
		env.Note("%s was seen after %s; caches may keep what was before for %s", what, took.Round(time.Millisecond), kept.Longest())
		env.RecordConvergence("DNS shows "+what, requirement.ConvergenceSample{Node: env.Role(world.Near).Node, Family: string(env.Family), FirstRight: took})
	}
	return err
}

func serviceRecreated() requirement.Requirement {
	return requirement.Requirement{
		ID:     "dns/service-recreated",
		Title:  "A Service that was deleted and made anew with another cluster IP resolves to the new one within 10 s and the old answer's TTL.",
		Level:  requirement.Must,
		Clause: programming,
		Why: "Helm upgrades and restores re-create Services. A name service that keeps the old address sends all clients to a virtual IP that " +
			"nobody answers, or that another Service was given since.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			first, err := newService(ctx, env, ordinarySpec())
			if err != nil {
				return err
			}
			q := wire.DNS{Name: fullName(env, first.Name, first.Namespace), Type: recordOf(family(first))}
			kept, err := appears(ctx, env, client, q)
			if err != nil {
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
			return measured(ctx, env, kept, "another cluster IP", func(ctx context.Context) error {
				return hasRecordsNow(ctx, env, client, kept, q, want)
			})
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
		Title:  "The name of a Service that was deleted is answered with NXDOMAIN within 10 s and the time that the old answer's TTL lets it be kept.",
		Level:  requirement.Must,
		Clause: programming,
		Why: "A name that stays leads to an address that is free to be given away: clients of the old Service then talk to another one, and " +
			"nothing tells them.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			service, err := newService(ctx, env, ordinarySpec())
			if err != nil {
				return err
			}
			q := wire.DNS{Name: fullName(env, service.Name, service.Namespace), Type: recordOf(family(service))}
			kept, err := appears(ctx, env, client, q)
			if err != nil {
				return err
			}
			if !env.Fixture(unchanged) {
				if err := env.Kube.CoreV1().Services(service.Namespace).Delete(ctx, service.Name, metav1.DeleteOptions{}); err != nil {
					return fmt.Errorf("deleting the Service: %w", err)
				}
			}
			return measured(ctx, env, kept, "the removal of a Service", func(ctx context.Context) error {
				got, err := askServer(ctx, env, client, q)
				kept.Saw(got)
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
		Title:  "Endpoints of a headless Service that become ready, or cease to be, come and go in DNS within 10 s and the time that the old answer's TTL lets it be kept.",
		Level:  requirement.Must,
		Clause: programming,
		Why: "With no proxy in between this is the whole of a headless Service's readiness: until DNS follows, clients dial pods that are not " +
			"there, and the record's TTL comes on top.",
		OneNode: serversAnswer,
		Roles:   []world.Role{world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			// Side by side, on a Service each: with caches in between each takes as long as they keep.
			steps := []*readiness{
				{what: "an endpoint that became ready", before: []int{1}, after: []int{1, 2}, way: byLibrary},
				{what: "an endpoint that ceased to be ready", before: []int{1, 2}, after: []int{2}, way: byProgram},
			}
			for _, s := range steps {
				if err := s.begin(ctx, env); err != nil {
					return err
				}
			}
			for _, s := range steps {
				if err := s.stands(ctx, env); err != nil {
					return err
				}
			}
			group, ctx := errgroup.WithContext(ctx)
			for _, s := range steps {
				group.Go(func() error { return s.follows(ctx, env) })
			}
			return group.Wait()
		},
		Control: notMade(requirement.WrongRecord),
	}
}

// readiness is a change of which of two endpoints of a headless Service are ready.
type readiness struct {
	what          string
	before, after []int // the endpoints that are ready
	way           int   // by which is asked

	slice *discoveryv1.EndpointSlice
	q     wire.DNS
	kept  *dnscache.Keeping
}

// begin makes the Service, with the endpoints as they are before.
func (r *readiness) begin(ctx context.Context, env *requirement.Env) error {
	service, err := newService(ctx, env, headlessSpec())
	if err != nil {
		return err
	}
	r.q = wire.DNS{Name: fullName(env, service.Name, service.Namespace), Type: recordOf(env.Family), Source: source(env, r.way)}
	r.slice, err = newSlice(ctx, env, service, endpointsWith(env, r.before)...)
	return err
}

// stands waits until DNS shows what is before.
func (r *readiness) stands(ctx context.Context, env *requirement.Env) (err error) {
	r.kept, err = appears(ctx, env, env.Role(world.Near), r.q)
	return err
}

// follows makes the change and waits until DNS shows it.
func (r *readiness) follows(ctx context.Context, env *requirement.Env) error {
	if !env.Fixture(unchanged) {
		r.slice.Endpoints = endpointsWith(env, r.after)
		if _, err := env.Kube.DiscoveryV1().EndpointSlices(r.slice.Namespace).Update(ctx, r.slice, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("changing the EndpointSlice: %w", err)
		}
	}
	var want []string
	for _, i := range r.after {
		want = append(want, nobody(env, i).String())
	}
	return measured(ctx, env, r.kept, r.what, func(ctx context.Context) error {
		return hasRecordsNow(ctx, env, env.Role(world.Near), r.kept, r.q, want...)
	})
}

// endpointsWith are two endpoints that nobody dials, of which those named are ready.
func endpointsWith(env *requirement.Env, ready []int) (all []discoveryv1.Endpoint) {
	for i := 1; i <= 2; i++ {
		all = append(all, endpoint(nobody(env, i), slices.Contains(ready, i)))
	}
	return all
}
