package container

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// Timeouts are in seconds: what is judged is what comes of an answer, not how fast a busy node asks. A gRPC probe of a
// port where nobody listens takes its whole timeout.
const (
	probeTimeout = 5
	grpcTimeout  = 1
)

// Variants of the pod with probes. The rows share their check: wrongProbe, of each, is what depends on the kind of probe; the others break
// one of the halves that do not, each in one of the rows.
const (
	wrongProbe       = "a wrong port or command"
	noStartupProbe   = "no startup probe"
	lastingReadiness = "a readiness probe that may fail a hundred times"
	lastingLiveness  = "a liveness probe that may fail a hundred times"
	siblingProbed    = "the liveness probe in the sibling, too"
	mayFail          = 100
	probeRedWithin   = 3 * time.Second
)

// The three probes of a container, each asked at a place of its own.
const (
	startup = iota
	readiness
	liveness
	nowhere // a place where nobody ever answers
)

// probed is one kind of probe.
type probed struct {
	kind, title, says, why string
	half                   string // the variant that breaks one more half of the check here
	url                    string
	timeout                int32 // of startup and readiness
	handler                func(env *requirement.Env, place int) corev1.ProbeHandler
	// answer has the container answer well at the place from now on; fail has it answer badly, or not at all.
	answer, fail func(ctx context.Context, env *requirement.Env, end *requirement.End, place int) error
}

const probesPage = "https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/"

func probeOf(p probed) requirement.Requirement {
	return requirement.Requirement{
		ID:   "container/probe-" + p.kind,
		Long: true,
		Title: p.title + " reach the container that names them: startup holds the others back, readiness makes it ready and unready, and " +
			"failing liveness restarts it and no sibling.",
		Level:   requirement.Must,
		Clause:  requirement.Clause{URL: p.url, Says: p.says},
		Why:     p.why,
		PerNode: true,
		Roles:   nearOnly,
		Check:   p.check,
		Control: inOne(wrongProbe, requirement.NoEffect), MoreControls: []requirement.Control{inOne(p.half, requirement.NoEffect)},
	}
}

// pod has a container with the three probes, and a sibling without.
func (p probed) pod(env *requirement.Env) *corev1.Pod {
	pod := env.NewPod(nodeOfSiblings(env), world.Container("a"), world.Container("b"))
	of := func(place int, timeout, failures int32) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: p.handler(env, place), PeriodSeconds: 1, TimeoutSeconds: timeout, FailureThreshold: failures}
	}
	c := &pod.Spec.Containers[0]
	for place, name := range []string{"startup", "readiness", "liveness"} {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: name, ContainerPort: int32(env.Port(place))})
	}
	c.Ports = append(c.Ports, corev1.ContainerPort{Name: "nowhere", ContainerPort: int32(env.Port(nowhere))})
	ready := readiness
	if env.Fixture(wrongProbe) {
		ready = nowhere
	}
	c.StartupProbe, c.ReadinessProbe, c.LivenessProbe = of(startup, p.timeout, mayFail), of(ready, p.timeout, 1), of(liveness, probeTimeout, 1)
	switch {
	case env.Fixture(noStartupProbe):
		c.StartupProbe = nil
	case env.Fixture(lastingReadiness):
		c.ReadinessProbe.FailureThreshold = mayFail
	case env.Fixture(lastingLiveness):
		c.LivenessProbe.FailureThreshold = mayFail
	case env.Fixture(siblingProbed):
		pod.Spec.Containers[1].LivenessProbe = of(liveness, probeTimeout, 2) // it answers nowhere there
	}
	return pod
}

func (p probed) check(ctx context.Context, env *requirement.Env) error {
	started, err := env.StartUntil(ctx, p.pod(env), running())
	if err != nil {
		return err
	}
	a, b := started.Ends["a"], started.Ends["b"]
	before, err := boots(ctx, b)
	if err != nil {
		return err
	}
	within := unlessRed(env, probeRedWithin)
	becomes := func(expected string, right func(corev1.ContainerStatus) bool) error {
		last, err := becomeWithin(ctx, env, started.Pod, within, func(now *corev1.Pod) error {
			s := statusOf(now, "a")
			if !right(s) {
				return kubeletFailure(requirement.NoEffect, a, now, p.kind+" probe", expected, stateWords(s))
			}
			if other := statusOf(now, "b"); !other.Ready || other.RestartCount > 0 {
				err := kubeletFailure(requirement.NoEffect, b, now, p.kind+" probe", "the sibling, which has no probe, to stay ready", stateWords(other))
				if other.RestartCount > 0 {
					err = until.Final(err)
				}
				return err
			}
			return nil
		})
		if f := requirement.AsFailure(err); f != nil {
			f.Observed = saidOf(ctx, env, last, "a", "Unhealthy", f.Observed)
			return f
		}
		return err
	}
	is := func(value *bool) bool { return value != nil && *value }
	answers := func(place int) error { return p.answer(ctx, env, a, place) }

	if err := becomes("the startup probe to hold the container back", func(s corev1.ContainerStatus) bool { return !is(s.Started) && !s.Ready && s.RestartCount == 0 }); err != nil {
		return err
	}
	within = kubeletActs
	for _, step := range []func() error{
		func() error { return answers(liveness) },
		func() error { return answers(startup) },
		func() error {
			return becomes("the container to count as started once its startup probe is answered", func(s corev1.ContainerStatus) bool { return is(s.Started) && !s.Ready && s.RestartCount == 0 })
		},
		func() error { within = unlessRed(env, probeRedWithin); return answers(readiness) },
		func() error {
			return becomes("the container to be ready once its readiness probe is answered", func(s corev1.ContainerStatus) bool { return s.Ready })
		},
		func() error { return p.fail(ctx, env, a, readiness) },
		func() error {
			return becomes("the container to be unready, and to run on, once its readiness probe fails", func(s corev1.ContainerStatus) bool { return !s.Ready && s.RestartCount == 0 })
		},
		func() error {
			err := p.fail(ctx, env, a, liveness)
			if errors.Is(err, probe.ErrRestarted) {
				return nil // the probe failed, and the kubelet acted, before all that makes it fail was in place
			}
			return err
		},
		func() error {
			return becomes("the container to be restarted once its liveness probe fails", func(s corev1.ContainerStatus) bool { return s.RestartCount > 0 })
		},
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return sameBoots(ctx, before, b)
}

// probeServers makes answer and fail of servers at the requirement's own ports, each open under a handle of its own.
func probeServers(network, failing string) (answer, fail func(context.Context, *requirement.Env, *requirement.End, int) error) {
	type server struct {
		end  *requirement.End
		port int
	}
	open := newRegistry[server]()
	serve := func(ctx context.Context, env *requirement.Env, end *requirement.End, place int, behave string) error {
		got, err := end.Listen(ctx, wire.Listen{Network: network, Address: fmt.Sprintf(":%d", env.Port(place)), Behave: behave})
		if err != nil {
			return fmt.Errorf("opening a %s server in %s: %w", network, end, err)
		}
		if !got.Ok() {
			return fmt.Errorf("%s cannot open a %s server: %s", end, network, got.Errno)
		}
		open.put(server{end, place}, got.Handle)
		return nil
	}
	answer = func(ctx context.Context, env *requirement.Env, end *requirement.End, place int) error {
		return serve(ctx, env, end, place, "")
	}
	fail = func(ctx context.Context, env *requirement.Env, end *requirement.End, place int) error {
		exchange.Release(ctx, end, open.take(server{end, place}))
		if failing == "" {
			return nil
		}
		return serve(ctx, env, end, place, failing)
	}
	return answer, fail
}
