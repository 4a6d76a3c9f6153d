package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
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
	// podsReady bounds the start of the world's pods: images are there already or a small one is pulled.
	podsReady = 3 * time.Minute
	// accountReady bounds the wait for a new namespace's default service account, without which pods
	// are refused. The controller takes milliseconds.
	accountReady = 30 * time.Second
)

// apply makes the namespaces, services and pods that the roles need and waits until all run.
func (l *lab) apply(ctx context.Context, roles map[world.Role]bool) error {
	core := l.kube.CoreV1()
	for _, ns := range l.plan.Namespaces() {
		if _, err := core.Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making the namespace %s: %w", ns.Name, err)
		}
		name := ns.Name
		l.undo("removing the namespace "+name, func(ctx context.Context) error {
			err := core.Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		})
		if err := l.copyPullSecrets(ctx, name); err != nil {
			return err
		}
	}
	planned := l.plan.Pods(roles)
	group, groupCtx := errgroup.WithContext(ctx)
	for _, service := range l.plan.Services() {
		group.Go(func() error {
			made, err := core.Services(service.Namespace).Create(groupCtx, service, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("making the Service %s: %w", service.Name, err)
			}
			l.cast.mu.Lock()
			defer l.cast.mu.Unlock()
			l.cast.services[world.Service(service.Name)] = requirement.ServiceSeen{Service: made}
			return nil
		})
	}
	refused := make([]string, len(planned))
	for i, pod := range planned {
		group.Go(func() (err error) {
			refused[i], err = l.createPod(groupCtx, pod.Object)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var expected []world.Pod
	for i, pod := range planned {
		if refused[i] == "" {
			expected = append(expected, pod)
			continue
		}
		for _, part := range pod.Plays {
			l.cast.missing[part.Role] = refused[i]
		}
	}
	running, err := awaitPods(ctx, l.kube, l.plan, expected)
	if err != nil {
		return err
	}
	for _, pod := range expected {
		if err := l.cast.enter(pod, running[key(pod.Object)]); err != nil {
			return err
		}
	}
	return nil
}

// createPod makes a pod. A pod in the privileged namespace that admission refuses is no error: the
// rows that rest on it are unsupported, in admission's words.
func (l *lab) createPod(ctx context.Context, pod *corev1.Pod) (refused string, err error) {
	policy := until.Policy{Within: accountReady}
	_, err = until.Settled(ctx, policy, func(ctx context.Context) error {
		_, err := l.kube.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		switch {
		case err == nil || apierrors.IsAlreadyExists(err):
			return nil
		case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "serviceaccount"):
			return err
		case apierrors.IsForbidden(err) && pod.Namespace == l.plan.Privileged():
			refused = "the cluster refuses the pod that it needs: " + err.Error()
			return nil
		}
		return fmt.Errorf("making the pod %s/%s: %w", pod.Namespace, pod.Name, err)
	})
	return refused, err
}

func (l *lab) copyPullSecrets(ctx context.Context, namespace string) error {
	for _, source := range split(l.run.config.PullSecrets) {
		from, name, ok := strings.Cut(source, "/")
		if !ok {
			return fmt.Errorf("-pull-secrets %s: name it as namespace/name", source)
		}
		secret, err := l.kube.CoreV1().Secrets(from).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the pull secret %s: %w", source, err)
		}
		twin := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Type: secret.Type, Data: secret.Data}
		if _, err := l.kube.CoreV1().Secrets(namespace).Create(ctx, twin, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("copying the pull secret %s: %w", source, err)
		}
	}
	return nil
}

func key(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }

// awaitPods watches until every expected pod is ready with an IP, and says which is not and why when
// the time is up.
func awaitPods(ctx context.Context, kube kubernetes.Interface, plan world.Plan, expected []world.Pod) (map[string]*corev1.Pod, error) {
	ready, last := map[string]*corev1.Pod{}, map[string]*corev1.Pod{}
	want := map[string]bool{}
	for _, pod := range expected {
		want[key(pod.Object)] = true
	}
	if len(want) == 0 {
		return ready, nil
	}
	selector := run.Label + "=" + plan.Labels[run.Label]
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
		if isReady(pod) && len(pod.Status.PodIPs) > 0 {
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
		if name := key(pod.Object); ready[name] == nil {
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
