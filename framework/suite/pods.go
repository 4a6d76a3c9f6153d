package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/run"
	"github.com/parley-k8s/parley/framework/until"
)

const (
	// podsReady bounds the start of pods: images are there already or a small one is pulled.
	podsReady = 3 * time.Minute
	// accountReady bounds the wait for a new namespace's default service account, without which pods
	// are refused. The controller takes milliseconds.
	accountReady = 30 * time.Second
	// podGone bounds the removal of a pod of a check's own.
	podGone = 30 * time.Second
)

// create makes a pod. A pod in the privileged namespace that admission refuses is no error: the rows that
// rest on it are unsupported, in admission's words.
func (c *cast) create(ctx context.Context, pod *corev1.Pod) (made *corev1.Pod, refused string, err error) {
	var answer error
	_, late := until.Settled(ctx, until.Policy{Within: accountReady}, func(ctx context.Context) error {
		made, answer = c.kube.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		if apierrors.IsForbidden(answer) && strings.Contains(answer.Error(), "serviceaccount") {
			return answer // a new namespace gets its account within milliseconds
		}
		return nil
	})
	switch {
	case late == nil && answer == nil:
		return made, "", nil
	case apierrors.IsForbidden(answer) && pod.Namespace == c.plan.Privileged():
		return nil, "the cluster refuses the pod that it needs: " + answer.Error(), nil
	}
	return nil, "", fmt.Errorf("making the pod %s/%s: %w", pod.Namespace, pod.Name+pod.GenerateName, answer)
}

// Start makes a pod of a check's own and waits until it is ready, or until enough says so.
func (c *cast) Start(ctx context.Context, pod *corev1.Pod, enough func(*corev1.Pod) bool) (*requirement.Started, error) {
	if enough == nil {
		enough = isReady
	}
	made, refused, err := c.create(ctx, pod)
	if err != nil {
		return nil, err
	}
	if refused != "" {
		return nil, &requirement.Unsupported{Probed: refused}
	}
	remove := func(ctx context.Context) error { return c.remove(ctx, made) }
	running, err := c.awaitUntil(ctx, enough, made)
	if err != nil {
		return nil, errors.Join(err, lifting(ctx, remove))
	}
	planned := world.Pod{Object: made}
	for _, container := range made.Spec.Containers {
		planned.Plays = append(planned.Plays, world.Part{Role: world.Role(made.Name), Container: container.Name})
	}
	for _, container := range made.Spec.InitContainers {
		if p := container.RestartPolicy; p != nil && *p == corev1.ContainerRestartPolicyAlways {
			planned.Plays = append(planned.Plays, world.Part{Role: world.Role(made.Name), Container: container.Name})
		}
	}
	ends, err := c.open(planned, running[key(made)])
	if err != nil {
		return nil, errors.Join(err, lifting(ctx, remove))
	}
	started := &requirement.Started{Pod: running[key(made)], Ends: map[string]*requirement.End{}, Remove: func(ctx context.Context) error {
		for _, end := range ends {
			if end.Close() != nil {
				continue // its stream ends with the pod
			}
		}
		return remove(ctx)
	}}
	for _, end := range ends {
		started.Ends[end.Container] = end
	}
	return started, nil
}

// Join opens an end in a container of a running pod.
func (c *cast) Join(pod *corev1.Pod, container string) (*requirement.End, error) {
	ends, err := c.open(world.Pod{Object: pod, Plays: []world.Part{{Role: world.Role(pod.Name), Container: container}}}, pod)
	if err != nil {
		return nil, err
	}
	return ends[0], nil
}

// remove deletes a pod and waits until it is gone.
func (c *cast) remove(ctx context.Context, pod *corev1.Pod) error {
	pods := c.kube.CoreV1().Pods(pod.Namespace)
	err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("removing the pod %s: %w", key(pod), err)
	}
	_, err = until.Settled(ctx, until.Policy{Within: podGone, Every: 100 * time.Millisecond}, func(ctx context.Context) error {
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || (err == nil && now.UID != pod.UID) {
			return nil
		}
		return errors.Join(fmt.Errorf("the pod %s is still there", key(pod)), err)
	})
	return err
}

func key(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }

// await watches until every expected pod is ready with an IP, and says which is not and why when
// the time is up.
func (c *cast) await(ctx context.Context, expected ...*corev1.Pod) (map[string]*corev1.Pod, error) {
	return c.awaitUntil(ctx, isReady, expected...)
}

func (c *cast) awaitUntil(ctx context.Context, enough func(*corev1.Pod) bool, expected ...*corev1.Pod) (map[string]*corev1.Pod, error) {
	kube := c.kube
	ready, last := map[string]*corev1.Pod{}, map[string]*corev1.Pod{}
	want := map[string]bool{}
	for _, pod := range expected {
		want[key(pod)] = true
	}
	if len(want) == 0 {
		return ready, nil
	}
	selector := run.Label + "=" + c.plan.Labels[run.Label]
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			return kube.CoreV1().Pods("").List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector
			return kube.CoreV1().Pods("").Watch(ctx, o)
		},
	}
	bounded, cancel := context.WithTimeout(ctx, podsReady)
	defer cancel()
	_, err := watchtools.UntilWithSync(bounded, source, &corev1.Pod{}, nil, func(event watch.Event) (bool, error) {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok || !want[key(pod)] {
			return false, nil
		}
		last[key(pod)] = pod
		if enough(pod) && len(pod.Status.PodIPs) > 0 {
			ready[key(pod)] = pod
		} else {
			delete(ready, key(pod))
		}
		if crashing(pod) != "" {
			return false, errCrashing
		}
		return len(ready) == len(want), nil
	})
	if err == nil {
		return ready, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var problems []string
	for _, pod := range expected {
		if name := key(pod); ready[name] == nil {
			problems = append(problems, name+" ("+whyNotReady(last[name])+lastWords(ctx, kube, last[name])+")")
		}
	}
	if n := len(problems); n > 3 {
		problems = append(problems[:2], fmt.Sprintf("and %d more", n-2))
	}
	within := ""
	if !errors.Is(err, errCrashing) {
		within = " within " + podsReady.String()
	}
	return nil, errors.New("fixtures did not start" + within + ": " + strings.Join(problems, ", "))
}

var errCrashing = errors.New("a fixture's container ends again and again")

// crashing names a container that has ended three times: waiting longer only hides why.
func crashing(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if s.RestartCount >= 3 && s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff" {
			return s.Name
		}
	}
	return ""
}

// lastWords is the last line that a crashing container logged.
func lastWords(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) string {
	if pod == nil || crashing(pod) == "" {
		return ""
	}
	one := int64(1)
	raw, err := kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: crashing(pod), Previous: true, TailLines: &one}).DoRaw(ctx)
	if err != nil {
		return ""
	}
	return "; it said: " + strings.TrimSpace(string(raw))
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// whyNotReady finds the most telling sentence in a pod's status.
func whyNotReady(pod *corev1.Pod) string {
	if pod == nil {
		return "never seen"
	}
	for _, s := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return "container " + s.Name + ": " + w.Reason + ": " + w.Message
		}
		if t := s.State.Terminated; t != nil {
			return fmt.Sprintf("container %s ended with %d: %s", s.Name, t.ExitCode, t.Reason)
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Status != corev1.ConditionTrue && c.Message != "" {
			return string(c.Type) + ": " + c.Message
		}
	}
	return string(pod.Status.Phase) + ", no reason given; see kubectl describe pod -n " + pod.Namespace + " " + pod.Name
}
