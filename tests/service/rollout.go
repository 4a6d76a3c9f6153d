package service

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

const (
	// rolledWithin bounds a Deployment's rollout of a few pods on a busy cluster.
	rolledWithin = 80 * time.Second
	// revision is the annotation of the template whose change rolls a Deployment out.
	revision = "parley.dev/revision"
)

// deployment makes a Deployment of the check's own whose pods have the label and serve TCP; it goes with all its pods after the
// check. No pod is taken away before another is ready.
func deployment(ctx context.Context, env *requirement.Env, label string, replicas int32, alter func(*corev1.Pod)) (*appsv1.Deployment, error) {
	plan := env.Cast.Plan()
	pod := env.NewPod("", world.Container("web", fmt.Sprintf("tcp=:%d", world.TargetPort)))
	pod.Labels[label] = "yes"
	delete(pod.Labels, world.PodLabel)
	pod.Annotations = map[string]string{revision: "1"}
	if alter != nil {
		alter(pod)
	}
	one, none := intstr.FromInt32(1), intstr.FromInt32(0)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{GenerateName: pod.GenerateName, Namespace: pod.Namespace, Labels: plan.Labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{label: "yes"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}, Spec: pod.Spec},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &one, MaxUnavailable: &none}},
		},
	}
	deployments := env.Kube.AppsV1().Deployments(pod.Namespace)
	made, err := deployments.Create(ctx, d, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("making the Deployment %s: %w", d.GenerateName, err)
	}
	env.Defer(func(ctx context.Context) error {
		background := metav1.DeletePropagationBackground
		if err := deployments.Delete(ctx, made.Name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing the Deployment %s: %w", made.Name, err)
		}
		return nil
	})
	return made, nil
}

// changeDeployment changes it by a JSON merge patch.
func changeDeployment(ctx context.Context, env *requirement.Env, d *appsv1.Deployment, change map[string]any) error {
	patch, err := json.Marshal(map[string]any{"spec": change})
	if err != nil {
		return err
	}
	if _, err := env.Kube.AppsV1().Deployments(d.Namespace).Patch(ctx, d.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("changing the Deployment %s: %w", d.Name, err)
	}
	return nil
}

func roll(ctx context.Context, env *requirement.Env, d *appsv1.Deployment) error {
	return changeDeployment(ctx, env, d, map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": map[string]any{revision: random()}}}})
}

// rolledOut waits until the Deployment is all of its latest template and ready, and gives its pods' names, those that are ending left out.
func rolledOut(ctx context.Context, env *requirement.Env, d *appsv1.Deployment) (names []string, err error) {
	_, err = until.Settled(ctx, until.Policy{Within: rolledWithin, Every: 100 * time.Millisecond}, func(ctx context.Context) error {
		is, err := env.Kube.AppsV1().Deployments(d.Namespace).Get(ctx, d.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the Deployment %s: %w", d.Name, err)
		}
		s := is.Status
		if want := *is.Spec.Replicas; s.ObservedGeneration < is.Generation || s.Replicas != want || s.UpdatedReplicas != want || s.ReadyReplicas != want {
			return fmt.Errorf("the Deployment %s has %d pods, %d of the latest template, %d ready, and wants %d", d.Name, s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, want)
		}
		pods, err := env.Kube.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
		if err != nil {
			return fmt.Errorf("listing the pods of %s: %w", d.Name, err)
		}
		names = names[:0]
		for _, pod := range pods.Items {
			if pod.DeletionTimestamp == nil {
				names = append(names, pod.Name)
			}
		}
		return nil
	})
	return names, err
}

func stableIP() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/stable-ip",
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
	expect := answered("a Service with one pod is made")
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
		ID: "service/rolling-update",
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
	expect := answered("a Service with two pods is made")
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
	served := answered("the rolling update")
	served.By = append(before, after...)
	asked, err := watch.Held(ctx, since, served)
	env.Note("%d requests in %s of the rolling update", asked, time.Since(since).Round(100*time.Millisecond))
	return err
}

func scaling() requirement.Requirement {
	return requirement.Requirement{
		ID: "service/scaling",
		Title: "When a Deployment is scaled up every node sends to each of its pods within 30 s of their readiness, and when it is scaled down to no pod " +
			"that is gone.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: programmingSLI,
			Says: "Users are to have a guarantee of how quickly new backends of a Service become targets of in-cluster load balancing, and how quickly " +
				"deleted ones are removed from it.",
		},
		Why: "New pods that get no traffic are money spent while the old ones drown. Pods that are gone and still get it are errors, one in n, " +
			"until the last node has followed.",
		Roles: []world.Role{world.Everywhere},
		Check: checkScaling,
		Control: requirement.Control{Says: "one of the new pods without the Service's label", Variant: &requirement.Variant{Fixture: "unlabelled"},
			Red: []requirement.Reason{requirement.Missing}},
	}
}

const scaleTo = 3

func checkScaling(ctx context.Context, env *requirement.Env) error {
	// The Deployment selects by a label of its own, the Service by another, so that a pod can lose the latter and is not replaced.
	owned, selected := ownLabel(), ownLabel()
	service, err := selecting(ctx, env, selected, allFamilies)
	if err != nil {
		return err
	}
	d, err := deployment(ctx, env, owned, 1, func(pod *corev1.Pod) { pod.Labels[selected] = "yes" })
	if err != nil {
		return err
	}
	first, err := rolledOut(ctx, env, d)
	if err != nil {
		return err
	}
	watch, err := watchService(ctx, env, service)
	if err != nil {
		return err
	}
	expect := answered("a Service with one pod is made")
	expect.By = first
	if err := watch.Change(ctx, expect, unchanged); err != nil {
		return err
	}
	if err := changeDeployment(ctx, env, d, map[string]any{"replicas": scaleTo}); err != nil {
		return err
	}
	all, err := rolledOut(ctx, env, d)
	if err != nil {
		return err
	}
	if env.Fixture("unlabelled") {
		for _, name := range all {
			if !slices.Contains(first, name) {
				if err := mark(ctx, env, &requirement.End{Namespace: d.Namespace, Pod: name}, selected, false); err != nil {
					return err
				}
				break
			}
		}
		// Until the nodes follow, the pod still answers.
		if err := settleFor(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	expect.What, expect.By, expect.Every, expect.Red = "a Deployment is scaled up", all, true, true
	if err := watch.Change(ctx, expect, unchanged); err != nil {
		return err
	}
	expect.What = "a Deployment is scaled down"
	expect.Every, expect.Red = false, false
	at := time.Now()
	if err := changeDeployment(ctx, env, d, map[string]any{"replicas": 1}); err != nil {
		return err
	}
	if expect.By, err = rolledOut(ctx, env, d); err != nil {
		return err
	}
	return watch.Change(ctx, expect, madeAt(at))
}
