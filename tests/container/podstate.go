package container

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// kubeletActs bounds how long a kubelet may take for what it does within a second or two: a probe of period 1 s, a
// restart, a status. It is so long because nodes are busy.
const kubeletActs = 30 * time.Second

// become watches the pod until right says nil of it, and gives back what was seen last.
func become(ctx context.Context, env *requirement.Env, pod *corev1.Pod, right func(*corev1.Pod) error) (*corev1.Pod, error) {
	return becomeWithin(ctx, env, pod, kubeletActs, right)
}

// unlessRed is how long to wait for what a control keeps from coming: red where it does not come in the time that it
// usually takes.
func unlessRed(env *requirement.Env, red time.Duration) time.Duration {
	if env.Patience == 0 {
		return red
	}
	return kubeletActs
}

// becomeWithin is become with another bound.
func becomeWithin(ctx context.Context, env *requirement.Env, pod *corev1.Pod, within time.Duration, right func(*corev1.Pod) error) (*corev1.Pod, error) {
	var last *corev1.Pod
	var gone error
	_, err := until.Settled(ctx, until.Policy{Within: within, Every: 100 * time.Millisecond}, func(ctx context.Context) error {
		now, err := env.Kube.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			gone = err // it will not come back
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		last = now
		return right(now)
	})
	if f := requirement.AsFailure(err); f != nil {
		return last, f
	}
	if gone != nil {
		return last, fmt.Errorf("reading the pod %s/%s: %w", pod.Namespace, pod.Name, gone)
	}
	return last, err
}

// statusOf is what the API shows of a container of any kind; the zero status where it shows nothing yet.
func statusOf(pod *corev1.Pod, container string) corev1.ContainerStatus {
	for _, all := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for _, s := range all {
			if s.Name == container {
				return s
			}
		}
	}
	return corev1.ContainerStatus{Name: container}
}

// running says that the containers of the pod run, all or those named.
func running(names ...string) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool {
		if len(names) == 0 {
			for _, c := range pod.Spec.Containers {
				names = append(names, c.Name)
			}
		}
		return !slices.ContainsFunc(names, func(name string) bool { return statusOf(pod, name).State.Running == nil })
	}
}

// stateWords says in a few words what a container's status is.
func stateWords(s corev1.ContainerStatus) string {
	words := "no state yet"
	switch {
	case s.State.Running != nil:
		words = "running"
	case s.State.Terminated != nil:
		words = fmt.Sprintf("ended with %d (%s)", s.State.Terminated.ExitCode, s.State.Terminated.Reason)
	case s.State.Waiting != nil:
		words = "waiting (" + s.State.Waiting.Reason + ")"
	}
	if s.State.Running != nil && !s.Ready {
		words += ", not ready"
	}
	if s.RestartCount > 0 {
		words += fmt.Sprintf(", %d restarts", s.RestartCount)
	}
	return words
}

// events are what the kubelet said of the pod's container for the reason given, the oldest first.
func events(ctx context.Context, env *requirement.Env, pod *corev1.Pod, container, reason string) ([]string, error) {
	list, err := env.Kube.CoreV1().Events(pod.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.uid=" + string(pod.UID) + ",reason=" + reason})
	if err != nil {
		return nil, fmt.Errorf("reading the events of %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	var said []string
	for _, e := range list.Items {
		if strings.HasSuffix(e.InvolvedObject.FieldPath, "{"+container+"}") { // spec.containers{name}
			said = append(said, strings.TrimSpace(e.Message))
		}
	}
	return said, nil
}

// saidOf adds the last of the events to what was observed; events are best effort, so their absence tells nothing.
func saidOf(ctx context.Context, env *requirement.Env, pod *corev1.Pod, container, reason, observed string) string {
	said, err := events(ctx, env, pod, container, reason)
	if err != nil || len(said) == 0 {
		return observed
	}
	return observed + "; the kubelet says: " + said[len(said)-1]
}

// kubeletFailure is what the kubelet did, or did not do, for a container.
func kubeletFailure(reason requirement.Reason, end *requirement.End, pod *corev1.Pod, protocol, expected, observed string) error {
	return &requirement.Failure{Reason: reason, From: end, Target: "pod " + pod.Namespace + "/" + pod.Name, Protocol: protocol, Expected: expected, Observed: observed,
		Again: fmt.Sprintf("kubectl describe pod -n %s %s", pod.Namespace, pod.Name)}
}
