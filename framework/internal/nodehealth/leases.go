package nodehealth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/parley-k8s/parley/framework/until"
)

const (
	// renewFraction and renewJitter are how a kubelet renews its Lease: every quarter of its duration, and up to 4 % later
	// (pkg/kubelet/kubelet.go and k8s.io/component-helpers/apimachinery/lease at v1.36.3).
	renewFraction, renewJitter = 0.25, 1.04
	// renewSlack is for a kubelet and an API server on a busy machine.
	renewSlack = 4 * time.Second
	// watchAgain is the pause before a watch that ended is opened anew.
	watchAgain = time.Second
)

// Leases follow how kubelets renew the Leases of their nodes.
type Leases struct {
	mu   sync.Mutex
	last map[string]renewal
	now  func() time.Time
}

type renewal struct {
	at      time.Time     // renewTime, by the kubelet's clock
	due     time.Duration // after it the next one
	arrived time.Time     // when it was seen here
	others  time.Time     // when a renewal of another node's was seen here since
}

// Follow follows the Leases until ctx ends. The error says that they can't be read; then nothing is ever overdue.
func Follow(ctx context.Context, kube kubernetes.Interface) (*Leases, error) {
	l := &Leases{last: map[string]renewal{}, now: time.Now}
	version, err := l.list(ctx, kube)
	if err != nil {
		return l, err
	}
	go l.follow(ctx, kube, version)
	return l, nil
}

func (l *Leases) list(ctx context.Context, kube kubernetes.Interface) (version string, err error) {
	list, err := kube.CoordinationV1().Leases(corev1.NamespaceNodeLease).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("listing the Leases of the nodes: %w", err)
	}
	for i := range list.Items {
		l.take(&list.Items[i])
	}
	return list.ResourceVersion, nil
}

// follow watches, and lists anew where a watch has ended.
func (l *Leases) follow(ctx context.Context, kube kubernetes.Interface, version string) {
	for ctx.Err() == nil {
		w, err := kube.CoordinationV1().Leases(corev1.NamespaceNodeLease).Watch(ctx, metav1.ListOptions{ResourceVersion: version})
		if err == nil {
			for event := range w.ResultChan() {
				if lease, ok := event.Object.(*coordinationv1.Lease); ok {
					l.take(lease)
				}
			}
			w.Stop()
		}
		if until.Idle(ctx, watchAgain) != nil {
			return
		}
		if again, err := l.list(ctx, kube); err == nil {
			version = again
		}
	}
}

// take notes a Lease.
func (l *Leases) take(lease *coordinationv1.Lease) {
	if lease.Spec.RenewTime == nil || lease.Spec.LeaseDurationSeconds == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, now := lease.Spec.RenewTime.Time, l.now()
	if before, ok := l.last[lease.Name]; ok && !at.After(before.at) {
		return
	}
	l.last[lease.Name] = renewal{at: at, due: RenewedEvery(*lease.Spec.LeaseDurationSeconds), arrived: now}
	for node, r := range l.last {
		if node != lease.Name && now.After(r.arrived) {
			r.others = now
			l.last[node] = r
		}
	}
}

// RenewedEvery is how long a kubelet lets pass, at most, before it renews a Lease of that duration again.
func RenewedEvery(leaseSeconds int32) time.Duration {
	return time.Duration(float64(leaseSeconds) * renewFraction * renewJitter * float64(time.Second))
}

// Overdue is how a node stands that has not renewed its Lease when it was due.
type Overdue struct {
	Last   time.Time     // the last renewal
	Due    time.Duration // after which the next one was due
	Silent time.Duration // how long it was watched since then, or since the run began
}

func (o Overdue) String() string {
	return fmt.Sprintf("its Lease in %s was renewed last at %s; one is due every %s, and in %s that it was watched only others' were renewed",
		corev1.NamespaceNodeLease, o.Last.UTC().Format(time.RFC3339), o.Due.Round(100*time.Millisecond), o.Silent.Round(time.Second))
}

// Overdue says whether the node has missed a renewal that was due while it was followed, and another node's came after it was due:
// nothing is overdue where all are late. Clocks of nodes are not compared.
func (l *Leases) Overdue(node string) (Overdue, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.last[node]
	if !ok || r.due <= 0 {
		return Overdue{}, false
	}
	o := Overdue{Last: r.at, Due: r.due, Silent: l.now().Sub(r.arrived)}
	return o, o.Silent > r.due+renewSlack && r.others.Sub(r.arrived) > r.due
}

// Suspicious are the nodes whose Lease is older than another's by more than two renewals, by the kubelets' own clocks: either they have
// stopped, or their clocks are behind.
func (l *Leases) Suspicious() (nodes []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var newest time.Time
	for _, r := range l.last {
		if r.at.After(newest) {
			newest = r.at
		}
	}
	for node, r := range l.last {
		if newest.Sub(r.at) > 2*r.due+renewSlack {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes
}

// Stopped watches a node that is suspicious until its Lease is renewed or overdue, at most for a renewal that is due and its slack.
func (l *Leases) Stopped(ctx context.Context, node string) (Overdue, bool) {
	l.mu.Lock()
	first := l.last[node]
	l.mu.Unlock()
	var o Overdue
	var overdue bool
	// Another node's renewal has to come besides, which takes an interval at most.
	_, err := until.Settled(ctx, until.Policy{Within: 2*first.due + renewSlack, Every: 250 * time.Millisecond}, func(context.Context) error {
		l.mu.Lock()
		renewed := l.last[node].at.After(first.at)
		l.mu.Unlock()
		if o, overdue = l.Overdue(node); overdue || renewed {
			return nil
		}
		return errNotDue
	})
	return o, err == nil && overdue
}

var errNotDue = errors.New("its Lease is neither renewed nor overdue")
