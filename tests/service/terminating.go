package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/convergence"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

const notServing = "the terminating pod no longer ready to serve"

func terminatingFallback() requirement.Requirement {
	return requirement.Requirement{
		ID:   "service/terminating-fallback",
		Long: true,
		Title: "While all of a Service's endpoints are terminating and still serving, its traffic goes on to them; it moves to a ready one as soon as " +
			"there is one.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/1669-proxy-terminating-endpoints",
			Says: "A proxy sends to ready endpoints; where there are none it falls back to those that are serving and terminating, rather than to " +
				"drop the traffic.",
		},
		Why: "Between the last old pod's end and the first new pod's readiness a Service has only terminating pods, which have been told to drain and " +
			"can still answer. Without the fallback every such moment is an outage.",
		Roles: []world.Role{world.Everywhere, world.SiblingA},
		Check: checkTerminatingFallback,
		Control: requirement.Control{Says: notServing, Variant: &requirement.Variant{Fixture: notServing},
			Red: []requirement.Reason{requirement.Refused, requirement.NoAnswer, requirement.Unreachable}},
	}
}

// drainPath is where the preStop hook of a draining pod waits: see the agent's hold command.
const drainPath = "/run/parley/drain"

// draining has a pod that is deleted go on serving until finish says so: its preStop hook is held.
func draining(pod *corev1.Pod) {
	grace := int64(60)
	pod.Spec.TerminationGracePeriodSeconds = &grace
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
		Exec: &corev1.ExecAction{Command: []string{"/agent", "hold", drainPath}}}}
}

// finish lets the hook of a draining pod end.
func finish(ctx context.Context, end *requirement.End) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	seen, err := end.File(ctx, wire.File{Do: "write", Path: drainPath + ".go"})
	if err == nil && !seen.Ok() {
		err = errors.New(seen.Errno.String())
	}
	if err != nil {
		return fmt.Errorf("ending the preStop hook of %s: %w", end, err)
	}
	return nil
}

// delete asks for a pod's end, and does not wait for it.
func deletePod(ctx context.Context, env *requirement.Env, pod *corev1.Pod) error {
	if err := env.Kube.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}); err != nil {
		return fmt.Errorf("deleting the pod %s: %w", pod.Name, err)
	}
	return nil
}

func checkTerminatingFallback(ctx context.Context, env *requirement.Env) error {
	label := ownLabel()
	service, err := selecting(ctx, env, label, allFamilies)
	if err != nil {
		return err
	}
	clients := env.Roles(world.Everywhere)
	pod := env.NewPod(clients[len(clients)-1].Node, world.Container("web", fmt.Sprintf("tcp=:%d", world.TargetPort)))
	pod.Labels[label] = "yes"
	draining(pod)
	ready := "/run/parley/ready"
	pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 1,
		ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/agent", "exists", ready}}}}
	started, err := env.StartUntil(ctx, pod, isRunning)
	if err != nil {
		return err
	}
	last, next := started.Ends["web"], env.Role(world.SiblingA)
	env.Defer(func(ctx context.Context) error {
		if finish(ctx, last) != nil {
			return nil // it has gone already: its removal says what remains
		}
		return nil
	})
	if seen, err := last.File(ctx, wire.File{Do: "write", Path: ready}); err != nil || !seen.Ok() {
		return fmt.Errorf("making %s ready: %w", last, errors.Join(err, errnoOf(seen.Errno)))
	}
	watch, err := watchPatiently(ctx, env, service, noneLost)
	if err != nil {
		return err
	}
	if err := watch.Change(ctx, expectAnswers("a pod turns ready", last), func(ctx context.Context) (time.Time, error) {
		return podBecomes(ctx, env, started.Pod, "ready", requirement.Ready)
	}); err != nil {
		return err
	}
	since := time.Now()
	if env.Fixture(notServing) {
		if seen, err := last.File(ctx, wire.File{Do: "remove", Path: ready}); err != nil || !seen.Ok() {
			return fmt.Errorf("making %s unready: %w", last, errors.Join(err, errnoOf(seen.Errno)))
		}
	}
	if err := deletePod(ctx, env, started.Pod); err != nil {
		return err
	}
	if err := endpointIs(ctx, env, service, started.Pod, "terminating", func(c discoveryv1.EndpointConditions) bool {
		return c.Terminating != nil && *c.Terminating && c.Ready != nil && !*c.Ready
	}); err != nil {
		return err
	}
	within := terminatingFor
	if env.Fixture(notServing) {
		within = programmedWithin // the nodes' own time to follow
	}
	asked, err := heldFor(ctx, watch, since, within, expectAnswers("the last endpoint's termination", last))
	if err != nil {
		return err
	}
	env.Note("%d questions were answered while the only endpoint was terminating", asked)
	return watch.Change(ctx, expectAnswers("a ready endpoint takes over from a terminating one", next), atOnce(func(ctx context.Context) error {
		return mark(ctx, env, next, label, true)
	}))
}

// heldFor looks again and again whether each question since then was answered rightly, for so long.
func heldFor(ctx context.Context, watch *convergence.Watch, since time.Time, within time.Duration, expect convergence.Expect) (asked int, err error) {
	for end := time.Now().Add(within); ; {
		if asked, err = watch.Unbroken(ctx, since, expect); err != nil || time.Now().After(end) {
			return asked, err
		}
		if err := settleFor(ctx, 200*time.Millisecond); err != nil {
			return asked, err
		}
	}
}

// terminatingFor is how long a Service is looked at whose only endpoint is terminating: longer than a proxy's programming
// usually takes. A late proxy is no failure here, since it still sends to the pod.
const terminatingFor = 2 * time.Second

func errnoOf(e wire.Errno) error {
	if e.Ok() {
		return nil
	}
	return errors.New(e.String())
}

// endpointIs waits until the Service's slices have the pod with such conditions.
func endpointIs(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, pod *corev1.Pod, words string, right func(discoveryv1.EndpointConditions) bool) error {
	_, err := until.Settled(ctx, until.Policy{Within: kubeletActs}, func(ctx context.Context) error {
		slices, err := env.Kube.DiscoveryV1().EndpointSlices(service.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
		if err != nil {
			return fmt.Errorf("reading the EndpointSlices of %s: %w", service.Name, err)
		}
		for _, slice := range slices.Items {
			for _, e := range slice.Endpoints {
				if e.TargetRef != nil && e.TargetRef.UID == pod.UID && right(e.Conditions) {
					return nil
				}
			}
		}
		return fmt.Errorf("the EndpointSlices of %s do not have the pod %s as %s", service.Name, pod.Name, words)
	})
	return err
}
