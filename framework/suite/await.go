package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/parley-k8s/parley/framework/run"
)

const (
	// podsReady bounds the start of pods: images are there already or a small one is pulled.
	podsReady = 3 * time.Minute
	// sandboxesReady is the same for pods of a RuntimeClass, each of which may begin with a kernel of its own.
	sandboxesReady = 6 * time.Minute
	// noProgress ends the wait earlier: by then not one more pod has become ready.
	noProgress = 75 * time.Second
)

// await watches until every expected pod is ready with an IP, or enough by another measure. late says of each
// that is not why: it ended again and again, or the time was up.
func (c *cast) await(ctx context.Context, enough func(*corev1.Pod) bool, expected ...*corev1.Pod) (ready map[string]*corev1.Pod, late map[string]string, err error) {
	ready, late = map[string]*corev1.Pod{}, map[string]string{}
	last := map[string]*corev1.Pod{}
	for _, pod := range expected {
		last[key(pod)] = nil
	}
	if len(expected) == 0 {
		return ready, late, nil
	}
	within := podsReady
	if c.plan.RuntimeClass != "" {
		within = sandboxesReady
	}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	stuck := time.AfterFunc(noProgress, cancel)
	defer stuck.Stop()
	_, err = watchtools.UntilWithSync(bounded, c.podsOf(expected), &corev1.Pod{}, nil, func(event watch.Event) (bool, error) {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok {
			return false, nil
		}
		if _, ours := last[key(pod)]; !ours {
			return false, nil
		}
		last[key(pod)] = pod
		switch {
		case enough(pod) && len(pod.Status.PodIPs) > 0:
			if ready[key(pod)] == nil {
				stuck.Reset(noProgress)
			}
			ready[key(pod)] = pod
			delete(late, key(pod))
		case crashing(pod) != "":
			late[key(pod)] = c.whyNotReady(ctx, key(pod), pod)
		default:
			delete(ready, key(pod))
		}
		return len(ready)+len(late) == len(last), nil
	})
	if err == nil {
		return ready, late, nil
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	for name, pod := range last {
		if ready[name] == nil && late[name] == "" {
			late[name] = c.whyNotReady(ctx, name, pod)
		}
	}
	return ready, late, nil
}

// podsOf lists and watches the run's pods, or the one that is expected.
func (c *cast) podsOf(expected []*corev1.Pod) *cache.ListWatch {
	namespace := ""
	choose := func(o *metav1.ListOptions) { o.LabelSelector = run.Label + "=" + c.plan.Labels[run.Label] }
	if len(expected) == 1 {
		namespace = expected[0].Namespace
		choose = func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", expected[0].Name).String()
		}
	}
	pods := c.kube.CoreV1().Pods(namespace)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			choose(&o)
			return pods.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			choose(&o)
			return pods.Watch(ctx, o)
		},
	}
}

// crashing names a container that has ended three times: waiting longer only hides why.
func crashing(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if s.RestartCount >= 3 && s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff" {
			return s.Name
		}
	}
	return ""
}

// whyNotReady finds the most telling sentence about a pod: what a crashing container said, what holds a
// container back, the last warning of its events, its conditions.
func (c *cast) whyNotReady(ctx context.Context, name string, pod *corev1.Pod) string {
	if pod == nil {
		return name + " was never seen"
	}
	for _, s := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return fmt.Sprintf("%s, container %s: %s: %s%s", name, s.Name, w.Reason, w.Message, c.lastWords(ctx, pod))
		}
		if t := s.State.Terminated; t != nil {
			return fmt.Sprintf("%s, container %s ended with %d: %s", name, s.Name, t.ExitCode, t.Reason)
		}
	}
	if warning := c.lastWarning(ctx, pod); warning != "" {
		return name + ": " + warning
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Status != corev1.ConditionTrue && condition.Message != "" {
			return fmt.Sprintf("%s: %s: %s", name, condition.Type, condition.Message)
		}
	}
	return fmt.Sprintf("%s is %s and no reason is given; see kubectl describe pod -n %s %s", name, pod.Status.Phase, pod.Namespace, pod.Name)
}

// lastWords is the last line that a crashing container logged.
func (c *cast) lastWords(ctx context.Context, pod *corev1.Pod) string {
	if crashing(pod) == "" {
		return ""
	}
	one := int64(1)
	raw, err := c.kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: crashing(pod), Previous: true, TailLines: &one}).DoRaw(ctx)
	if err != nil {
		return ""
	}
	return "; it said: " + strings.TrimSpace(string(raw))
}

// lastWarning is the newest warning among the pod's events: what a runtime or CNI plugin said is only there.
func (c *cast) lastWarning(ctx context.Context, pod *corev1.Pod) string {
	events, err := c.kube.CoreV1().Events(pod.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", string(pod.UID)).String()})
	if err != nil {
		return ""
	}
	slices.SortFunc(events.Items, func(a, b corev1.Event) int { return b.LastTimestamp.Compare(a.LastTimestamp.Time) })
	for _, e := range events.Items {
		if e.Type == corev1.EventTypeWarning {
			return e.Reason + ": " + e.Message
		}
	}
	return ""
}
