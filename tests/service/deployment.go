package service

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/rand"

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
	pod := env.NewPod("", world.Container("web", fmt.Sprintf("tcp=:%d", world.TargetPort)))
	pod.Labels[label] = "yes"
	delete(pod.Labels, world.PodLabel)
	pod.Annotations = map[string]string{revision: "1"}
	if alter != nil {
		alter(pod)
	}
	one, none := intstr.FromInt32(1), intstr.FromInt32(0)
	d := &appsv1.Deployment{
		ObjectMeta: env.ObjectMeta(""),
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{label: "yes"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}, Spec: pod.Spec},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &one, MaxUnavailable: &none}},
		},
	}
	return requirement.Own(ctx, env, env.Kube.AppsV1().Deployments(pod.Namespace), d, requirement.WithDependents)
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
	return changeDeployment(ctx, env, d, map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": map[string]any{revision: rand.String(12)}}}})
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
