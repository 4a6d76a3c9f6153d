package podstatus

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
)

// Crashing returns the name of a container in CrashLoopBackOff that was restarted three times or more; "" where there is none.
// Such a pod is not worth waiting for.
func Crashing(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if s.RestartCount >= 3 && s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff" {
			return s.Name
		}
	}
	return ""
}

// Why says in one sentence why the pod is not ready: from its containers' states, else its newest warning event, else its
// conditions. name is how the sentence calls the pod, which is nil where the API server never had it.
func Why(ctx context.Context, kube kubernetes.Interface, name string, pod *corev1.Pod) string {
	if pod == nil {
		return name + " was never seen"
	}
	for _, s := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return fmt.Sprintf("%s, container %s: %s: %s%s", name, s.Name, w.Reason, w.Message, lastLogLine(ctx, kube, pod))
		}
		if t := s.State.Terminated; t != nil {
			return fmt.Sprintf("%s, container %s ended with %d: %s", name, s.Name, t.ExitCode, t.Reason)
		}
	}
	if warning := lastWarning(ctx, kube, pod); warning != "" {
		return name + ": " + warning
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Status != corev1.ConditionTrue && condition.Message != "" {
			return fmt.Sprintf("%s: %s: %s", name, condition.Type, condition.Message)
		}
	}
	return fmt.Sprintf("%s is %s and no reason is given; see kubectl describe pod -n %s %s", name, pod.Status.Phase, pod.Namespace, pod.Name)
}

// lastLogLine is the last line that a crashing container logged.
func lastLogLine(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) string {
	if Crashing(pod) == "" {
		return ""
	}
	one := int64(1)
	raw, err := kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: Crashing(pod), Previous: true, TailLines: &one}).DoRaw(ctx)
	if err != nil {
		return ""
	}
	return "; it said: " + strings.TrimSpace(string(raw))
}

// lastWarning is the newest warning among the pod's events: what a runtime or CNI plugin said is only there.
func lastWarning(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) string {
	events, err := kube.CoreV1().Events(pod.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", string(pod.UID)).String()})
	if err != nil {
		return ""
	}
	slices.SortFunc(events.Items, func(a, b corev1.Event) int { return EventTime(b).Compare(EventTime(a).Time) })
	for _, e := range events.Items {
		if e.Type == corev1.EventTypeWarning {
			return e.Reason + ": " + e.Message
		}
	}
	return ""
}

// EventTime is when the event happened last, by whichever of the API's two fields has it.
func EventTime(e corev1.Event) metav1.Time {
	if !e.LastTimestamp.IsZero() {
		return e.LastTimestamp
	}
	return metav1.NewTime(e.EventTime.Time)
}
