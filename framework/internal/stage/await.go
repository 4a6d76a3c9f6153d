package stage

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/parley-k8s/parley/framework/internal/podstatus"
	"github.com/parley-k8s/parley/framework/internal/runid"
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
func (p *players) await(ctx context.Context, enough func(*corev1.Pod) bool, expected ...*corev1.Pod) (ready map[string]*corev1.Pod, late map[string]string, err error) {
	ready, late = map[string]*corev1.Pod{}, map[string]string{}
	last := map[string]*corev1.Pod{}
	for _, pod := range expected {
		last[key(pod)] = nil
	}
	if len(expected) == 0 {
		return ready, late, nil
	}
	within := podsReady
	if p.plan.RuntimeClass != "" {
		within = sandboxesReady
	}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	stuck := time.AfterFunc(noProgress, cancel)
	defer stuck.Stop()
	_, err = watchtools.UntilWithSync(bounded, p.podsOf(expected), &corev1.Pod{}, nil, func(event watch.Event) (bool, error) {
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
		case podstatus.Crashing(pod) != "":
			late[key(pod)] = podstatus.Why(ctx, p.kube, key(pod), pod)
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
			late[name] = podstatus.Why(ctx, p.kube, name, pod)
		}
	}
	return ready, late, nil
}

// podsOf lists and watches the run's pods, or the one that is expected.
func (p *players) podsOf(expected []*corev1.Pod) *cache.ListWatch {
	namespace := ""
	choose := func(o *metav1.ListOptions) { o.LabelSelector = runid.Label + "=" + p.plan.Labels[runid.Label] }
	if len(expected) == 1 {
		namespace = expected[0].Namespace
		choose = func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", expected[0].Name).String()
		}
	}
	pods := p.kube.CoreV1().Pods(namespace)
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
