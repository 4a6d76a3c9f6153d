package judge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"

	"github.com/parley-k8s/parley/framework/addresses"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/reports"
)

// sharingEvery is how often the pods' addresses are compared while the run goes on. What two looks in a row see is shared: a pod that
// ends may have given its address back a moment before the API knows.
const sharingEvery = 2 * time.Second

// sharing are the addresses that were seen to have two owners at any time: pods that checks make come and go between a run's beginning
// and its end.
type sharing struct {
	mu   sync.Mutex
	seen map[string]string // the address -> a sentence
}

func (s *sharing) note(ip, told string) (isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[ip] != "" {
		return false
	}
	if s.seen == nil {
		s.seen = map[string]string{}
	}
	s.seen[ip] = told
	return true
}

// sentences are what was seen so far, in the order of the addresses as text.
func (s *sharing) sentences() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, told := range s.seen {
		all = append(all, told)
	}
	slices.Sort(all)
	return all
}

// followAddresses watches the cluster's pods and nodes until the context ends, and notes the addresses that two have.
func (r *round) followAddresses(ctx context.Context) {
	kube := r.stage.Env(requirement.Requirement{}, r.stage.Families()[0]).Kube
	factory := informers.NewSharedInformerFactory(kube, 0)
	pods, nodes := factory.Core().V1().Pods().Lister(), factory.Core().V1().Nodes().Lister()
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	factory.WaitForCacheSync(ctx.Done()) // where the right to watch is missing it never does, and the two looks remain
	var before []addresses.Shared
	for until.Idle(ctx, sharingEvery) == nil {
		allPods, err := pods.List(labels.Everything())
		if err != nil {
			continue
		}
		allNodes, err := nodes.List(labels.Everything())
		if err != nil {
			continue
		}
		now := addresses.Of(values(allPods), values(slices.DeleteFunc(allNodes, func(n *corev1.Node) bool { return n.Labels[requirement.RunLabel] != "" }))).Shared()
		for _, s := range now {
			twice := slices.ContainsFunc(before, func(b addresses.Shared) bool { return b.String() == s.String() })
			if !twice || s.Passing() {
				continue
			}
			if told := fmt.Sprintf("%s (seen at %s)", s, clock(time.Now())); r.sharing.note(s.IP.String(), told) {
				r.options.Log.Say("two have one address: %s", told)
			}
		}
		before = now
	}
}

func values[V any](of []*V) []V {
	all := make([]V, len(of))
	for i := range of {
		all[i] = *of[i]
	}
	return all
}

// noteSharing adds to the changes what was shared for a while and is not any more.
func (r *round) noteSharing(after clusterSeen) {
	r.sharing.mu.Lock()
	defer r.sharing.mu.Unlock()
	for _, ip := range slices.Sorted(maps.Keys(r.sharing.seen)) {
		if slices.ContainsFunc(after.shared, func(s addresses.Shared) bool { return s.IP.String() == ip }) {
			continue
		}
		r.record.Change(func(of *reports.Cluster) {
			of.Changes = append(of.Changes, reports.Change{Of: ip, What: "was for a while" + strings.TrimPrefix(r.sharing.seen[ip], ip+" is")})
		})
	}
}
