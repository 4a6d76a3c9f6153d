package main

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests"
)

// onlyNodes are players in whose world there are agents in the nodes' own namespaces alone.
type onlyNodes struct {
	requirement.Players
	nodes []*requirement.End
}

func (p onlyNodes) EndsFrom(_ string, r world.Role) []*requirement.End { return p.Ends(r) }

func (p onlyNodes) Ends(r world.Role) []*requirement.End {
	if r == world.Node {
		return p.nodes
	}
	return nil
}

// pod/ip-unique judges the whole cluster: what the API says of pods of others too, and what their network namespaces have.
func TestIPUnique(t *testing.T) {
	pod := func(name, ip string, change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)}, Spec: corev1.PodSpec{NodeName: "n"},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: ip}}}}
		if change != nil {
			change(p)
		}
		return p
	}
	ending := func(p *corev1.Pod) {
		p.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	}
	processes := []wire.ProcessInfo{{PID: 2, Net: 2, Cgroup: "/kubepods/poda/c"}, {PID: 3, Net: 3, Cgroup: "/kubepods/podb/c"}}
	for name, c := range map[string]struct {
		pods   []*corev1.Pod
		gone   *corev1.Pod        // after the first look
		inside map[uint64]string  // network namespaces; nil is no agent on the node
		reason requirement.Reason // "" holds
		says   string
	}{
		"each its own":               {pods: []*corev1.Pod{pod("a", "10.0.0.2", nil), pod("b", "10.0.0.3", nil)}, inside: map[uint64]string{2: "10.0.0.2", 3: "10.0.0.3"}},
		"two pods":                   {pods: []*corev1.Pod{pod("a", "10.0.0.2", nil), pod("b", "10.0.0.2", nil)}, reason: requirement.NotDistinct, says: "10.0.0.2 is the address of pod ns/a on n and of pod ns/b on n"},
		"one that starts":            {pods: []*corev1.Pod{pod("a", "10.0.0.2", nil), pod("b", "10.0.0.2", func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending })}, reason: requirement.NotDistinct, says: "pod ns/b on n"},
		"one that is ending":         {pods: []*corev1.Pod{pod("a", "10.0.0.2", nil)}, gone: pod("b", "10.0.0.2", ending)},
		"one that goes on ending":    {pods: []*corev1.Pod{pod("a", "10.0.0.2", nil), pod("b", "10.0.0.2", ending)}, reason: requirement.NotDistinct, says: "pod ns/b on n (terminating)"},
		"another's address inside":   {pods: []*corev1.Pod{pod("a", "10.0.0.2", nil), pod("b", "10.0.0.3", nil)}, inside: map[uint64]string{2: "10.0.0.2", 3: "10.0.0.2"}, reason: requirement.NotDistinct, says: "in the status of pod ns/a on n, and in the network namespace of pod ns/b on n"},
		"with nobody on their nodes": {pods: []*corev1.Pod{pod("a", "10.0.0.2", nil), pod("b", "10.0.0.3", nil)}},
	} {
		t.Run(name, func(t *testing.T) {
			var all []runtime.Object
			for _, p := range c.pods {
				all = append(all, p)
			}
			kube := fake.NewClientset(all...)
			var looks atomic.Int32
			if c.gone != nil {
				kube.PrependReactor("list", "pods", func(kubetesting.Action) (bool, runtime.Object, error) {
					list := &corev1.PodList{Items: []corev1.Pod{*c.pods[0]}}
					if looks.Add(1) == 1 {
						list.Items = append(list.Items, *c.gone)
					}
					return true, list, nil
				})
			}
			var players onlyNodes
			if c.inside != nil {
				agent := probe.New("n", fakeagent.Answer(func(op wire.Op, args json.RawMessage) any {
					var l wire.InspectNetns
					if op == wire.OpProcess || json.Unmarshal(args, &l) != nil {
						return wire.ProcessResult{Processes: processes}
					}
					return wire.NetnsState{Addresses: []string{c.inside[l.Netns] + "/24 dev eth0"}}
				}))
				t.Cleanup(func() { _ = agent.Close() })
				players.nodes = []*requirement.End{{Agent: agent, Role: world.Node, Node: "n"}}
			}
			err := checkOf(t, "pod/ip-unique")(t.Context(), &requirement.Env{Requirement: requirementOf(t, "pod/ip-unique"), Kube: kube,
				Family: corev1.IPv4Protocol, Players: players, Patience: 200 * time.Millisecond})
			if c.reason == "" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.Equal(t, c.reason, requirement.AsFailure(err).Reason)
			require.Contains(t, err.Error(), c.says)
		})
	}
	err := checkOf(t, "pod/ip-unique")(t.Context(), &requirement.Env{SharedAddresses: []string{"10.0.0.2 is the address of a and of b (seen at 10:00:00)"}})
	require.ErrorContains(t, err, "while the run went on, 10.0.0.2 is the address of a and of b (seen at 10:00:00)")
	require.True(t, requirementOf(t, "pod/ip-unique").AtEnd)
	require.True(t, requirementOf(t, "node/addresses").AtEnd)
}

func requirementOf(t *testing.T, id string) *requirement.Requirement {
	t.Helper()
	for _, q := range tests.All() {
		if q.ID == id {
			return &q
		}
	}
	t.Fatalf("there is no requirement %s", id)
	return nil
}

func checkOf(t *testing.T, id string) func(context.Context, *requirement.Env) error {
	t.Helper()
	return requirementOf(t, id).Check
}
