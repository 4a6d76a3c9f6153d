package stage

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/nodehealth"
	"github.com/parley-k8s/parley/framework/internal/podstatus"
	"github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

const (
	// podsReady bounds the start of pods: images are there already or a small one is pulled.
	podsReady = 3 * time.Minute
	// sandboxesReady is the same for pods of a RuntimeClass, each of which may begin with a kernel of its own.
	sandboxesReady = 6 * time.Minute
	// noProgress ends the wait earlier: by then not one more pod has become ready.
	noProgress = 75 * time.Second
	// lookAgain is how often is asked whether a node is to be given up.
	lookAgain = 500 * time.Millisecond
)

// awaited is what came of pods that were awaited, by namespace and name.
type awaited struct {
	ready map[string]*corev1.Pod
	late  map[string]string // why it is not ready: it ended again and again, its node is sick, or the time was up
	sick  []requirement.NodeFinding
}

// await watches until every expected pod is ready with an IP, or enough by another measure, or is given up.
func (p *players) await(ctx context.Context, enough func(*corev1.Pod) bool, expected ...*corev1.Pod) (awaited, error) {
	w := newWait(p, expected)
	if len(expected) == 0 {
		return w.seen, nil
	}
	within := podsReady
	if p.plan.RuntimeClass != "" {
		within = sandboxesReady
	}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	stuck := time.AfterFunc(noProgress, cancel)
	defer stuck.Stop()
	var looking sync.WaitGroup
	defer looking.Wait()
	defer cancel()
	looking.Go(func() { w.giveUpNodes(bounded, cancel) })
	_, err := watchtools.UntilWithSync(bounded, p.podsOf(expected), &corev1.Pod{}, nil, func(event watch.Event) (bool, error) {
		pod, ok := event.Object.(*corev1.Pod)
		if ok && w.take(ctx, pod, enough) {
			stuck.Reset(noProgress)
		}
		return w.done(), nil
	})
	if ctx.Err() != nil {
		return awaited{}, context.Cause(ctx)
	}
	if err != nil {
		w.timeIsUp(ctx)
	}
	return w.seen, nil
}

// wait is the state of pods that are awaited.
type wait struct {
	p     *players
	begun time.Time

	mu      sync.Mutex
	last    map[string]*corev1.Pod // as it was seen last; nil before that
	nodes   map[string]string      // of each pod; "" until the scheduler has chosen
	changed map[string]time.Time   // when a pod of the node was seen last
	settled map[string]time.Time   // when the last pod of the node became ready or was given up
	seen    awaited
}

func newWait(p *players, expected []*corev1.Pod) *wait {
	w := &wait{p: p, begun: time.Now(), last: map[string]*corev1.Pod{}, nodes: map[string]string{}, changed: map[string]time.Time{},
		settled: map[string]time.Time{}, seen: awaited{ready: map[string]*corev1.Pod{}, late: map[string]string{}}}
	for _, pod := range expected {
		w.last[key(pod)], w.nodes[key(pod)] = nil, world.NodeOf(pod)
	}
	return w
}

// take notes what was seen of a pod, and says whether one more is ready.
func (w *wait) take(ctx context.Context, pod *corev1.Pod, enough func(*corev1.Pod) bool) (more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := key(pod)
	if _, ours := w.last[name]; !ours {
		return false
	}
	node := world.NodeOf(pod)
	w.last[name], w.nodes[name], w.changed[node] = pod, node, time.Now()
	switch {
	case enough(pod) && len(pod.Status.PodIPs) > 0:
		more = w.seen.ready[name] == nil
		w.seen.ready[name] = pod
		delete(w.seen.late, name)
	case podstatus.Crashing(pod) != "":
		w.seen.late[name] = podstatus.Why(ctx, w.p.kube, name, pod)
	default:
		delete(w.seen.ready, name)
	}
	if more || w.seen.late[name] != "" {
		w.settled[node] = time.Now()
	}
	return more
}

func (w *wait) done() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen.ready)+len(w.seen.late) == len(w.last)
}

// timeIsUp says why those are not ready that were not given up before.
func (w *wait) timeIsUp(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, pod := range w.last {
		if w.seen.ready[name] == nil && w.seen.late[name] == "" {
			w.seen.late[name] = podstatus.Why(ctx, w.p.kube, name, pod)
		}
	}
}

// giveUpNodes gives up nodes that need not be waited for, until ctx ends; where nothing is left to await it ends the wait.
func (w *wait) giveUpNodes(ctx context.Context, end context.CancelFunc) {
	for until.Idle(ctx, lookAgain) == nil {
		for _, pods := range w.byNode(time.Now()) {
			if f, given := nodehealth.GiveUp(pods); given {
				w.giveUp(f)
			}
		}
		if w.done() {
			end()
		}
	}
}

// giveUp has nobody wait for the node's pods.
func (w *wait) giveUp(f requirement.NodeFinding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, node := range w.nodes {
		if node == f.Node && w.seen.ready[name] == nil && w.seen.late[name] == "" {
			w.seen.late[name] = name + ": " + f.String()
		}
	}
	w.seen.sick = append(w.seen.sick, f)
}

// byNode is how the pods of each node come up beside those of the others.
func (w *wait) byNode(now time.Time) (all []nodehealth.Pods) {
	w.mu.Lock()
	defer w.mu.Unlock()
	nodes := map[string]*nodehealth.Pods{}
	for name, node := range w.nodes {
		if nodes[node] == nil {
			nodes[node] = &nodehealth.Pods{Node: node}
		}
		n := nodes[node]
		n.All++
		if w.seen.late[name] != "" {
			n.GivenUp++
		}
		if w.seen.ready[name] != nil {
			n.Ready++
		}
		if pod := w.last[name]; pod != nil && pod.Spec.NodeName != "" {
			n.Scheduled++
			if pod.Status.StartTime != nil {
				n.Acknowledged++
			}
		}
	}
	delete(nodes, "") // the scheduler has not chosen
	for _, n := range nodes {
		n.Quiet = now.Sub(later(w.begun, w.changed[n.Node]))
		if w.p.leases != nil {
			if o, overdue := w.p.leases.Overdue(n.Node); overdue {
				n.Overdue = &o
			}
		}
		last := w.begun
		for _, other := range nodes {
			if other == n {
				continue
			}
			n.Others.Nodes++
			n.Others.Ready += other.Ready
			n.Others.Awaited += other.All - other.Ready - other.GivenUp
			last = later(last, w.settled[other.Node])
		}
		n.Others.Took, n.Others.Settled = last.Sub(w.begun), now.Sub(last)
		all = append(all, *n)
	}
	return all
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// podsOf lists and watches the run's pods, or the one that is expected.
func (p *players) podsOf(expected []*corev1.Pod) cache.ListerWatcher {
	namespace := ""
	choose := func(o *metav1.ListOptions) { o.LabelSelector = runid.Label + "=" + p.plan.Labels[runid.Label] }
	if len(expected) == 1 {
		namespace = expected[0].Namespace
		choose = func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", expected[0].Name).String()
		}
	}
	pods := p.kube.CoreV1().Pods(namespace)
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			choose(&o)
			return pods.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			choose(&o)
			return pods.Watch(ctx, o)
		},
	}, p.kube)
}
