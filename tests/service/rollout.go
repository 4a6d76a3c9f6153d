package service

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func stableIP() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/stable-ip",
		Long:  true,
		Title: "The ClusterIP of a Service stays the same, and answers by the new pods, when all its pods have been replaced one by one.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/service/",
			Says: "Pods are made and destroyed and their addresses with them; a Service's address is stable, so that its clients need not keep track of " +
				"the set of pods behind it. A cluster IP may not be changed.",
		},
		Why:   "Clients keep the address that they looked up once, some for their whole life. It may follow its pods, and never move itself.",
		Roles: []world.Role{world.Everywhere},
		Check: checkStableIP,
		Control: requirement.Control{Says: "the Service deleted and made again meanwhile", Variant: &requirement.Variant{Fixture: "re-created Service"},
			Red: []requirement.Reason{requirement.Lost}},
	}
}

func checkStableIP(ctx context.Context, env *requirement.Env) error {
	label := ownLabel()
	service, err := selecting(ctx, env, label, allFamilies)
	if err != nil {
		return err
	}
	d, err := deployment(ctx, env, label, 1, nil)
	if err != nil {
		return err
	}
	before, err := rolledOut(ctx, env, d)
	if err != nil {
		return err
	}
	watch, err := watchService(ctx, env, service)
	if err != nil {
		return err
	}
	expect := expectAnswers("a Service with one pod is made")
	expect.By = before
	if err := watch.Change(ctx, expect, unchanged); err != nil {
		return err
	}
	name := service.Name
	if env.Fixture("re-created Service") {
		if err := deleteService(ctx, env, service); err != nil {
			return err
		}
		again, err := selecting(ctx, env, label, allFamilies)
		if err != nil {
			return err
		}
		name = again.Name
	}
	if err := roll(ctx, env, d); err != nil {
		return err
	}
	after, err := rolledOut(ctx, env, d)
	if err != nil {
		return err
	}
	now, err := env.Kube.CoreV1().Services(service.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the Service %s: %w", name, err)
	}
	if !slices.Equal(now.Spec.ClusterIPs, service.Spec.ClusterIPs) {
		return &requirement.Failure{Reason: requirement.Lost, Target: "Service " + service.Namespace + "/" + service.Name,
			Expected: fmt.Sprintf("its cluster IPs to stay %v while its pods are replaced", service.Spec.ClusterIPs),
			Observed: fmt.Sprintf("%v", now.Spec.ClusterIPs),
			Again:    fmt.Sprintf("kubectl get service -n %s %s -o wide", service.Namespace, service.Name)}
	}
	expect.What, expect.By = "a pod is replaced by a Deployment", after
	return watch.Change(ctx, expect, unchanged)
}

func rollingUpdate() requirement.Requirement {
	return requirement.Requirement{
		ID:   "service/rolling-update",
		Long: true,
		Title: "Under load from every node no request fails while a Deployment replaces its pods, which go on serving in a preStop hook for longer than " +
			"nodes take to follow.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tutorials/services/pods-and-endpoint-termination-flow/",
			Says: "A pod that is deleted is taken out of the endpoints of new traffic while it runs its preStop hook, so that it can serve what still " +
				"comes; a rolling update keeps the number of available pods.",
		},
		Why: "This is what people mean by an update without downtime. It needs every part in time: readiness, endpoints, every node's proxy, and " +
			"connections that stand.",
		Roles: []world.Role{world.Everywhere},
		Check: checkRollingUpdate,
		Control: requirement.Control{Says: "no preStop hook", Variant: &requirement.Variant{Fixture: "no preStop"},
			Red: []requirement.Reason{requirement.Refused, requirement.NoAnswer, requirement.Unreachable, requirement.Broken}},
	}
}

// drainFor is how many seconds pods go on serving: much longer than nodes take to follow, as the rows of convergence show.
const drainFor = 10

func checkRollingUpdate(ctx context.Context, env *requirement.Env) error {
	label := ownLabel()
	service, err := selecting(ctx, env, label, allFamilies)
	if err != nil {
		return err
	}
	d, err := deployment(ctx, env, label, 2, func(pod *corev1.Pod) {
		// A container that runs is ready without it, be its server listening yet or not.
		pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 30,
			ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt(world.TargetPort)}}}
		if env.Fixture("no preStop") {
			return
		}
		grace := int64(3 * drainFor)
		pod.Spec.TerminationGracePeriodSeconds = &grace
		pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: drainFor}}}
	})
	if err != nil {
		return err
	}
	before, err := rolledOut(ctx, env, d)
	if err != nil {
		return err
	}
	watch, err := watchPatiently(ctx, env, service, noneLost)
	if err != nil {
		return err
	}
	expect := expectAnswers("a Service with two pods is made")
	expect.By, expect.Every = before, true
	if err := watch.Change(ctx, expect, unchanged); err != nil {
		return err
	}
	since := time.Now()
	if err := roll(ctx, env, d); err != nil {
		return err
	}
	after, err := rolledOut(ctx, env, d)
	if err != nil {
		return err
	}
	expect.What, expect.By = "the pods of a Deployment are rolled over", after
	if err := watch.Change(ctx, expect, unchanged); err != nil {
		return err
	}
	served := expectAnswers("the rolling update")
	served.By = slices.Concat(before, after)
	asked, err := watch.Unbroken(ctx, since, served)
	env.Note("%d requests in %s of the rolling update", asked, time.Since(since).Round(100*time.Millisecond))
	return err
}
