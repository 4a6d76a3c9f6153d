package stage

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/lab"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

var hung = requirement.NodeFinding{Node: "n1", State: requirement.NodeRenewsNoLease, Said: "nothing", Sick: true, LeftOut: true}

func TestTheWorldIsPlacedOnTheNodesThatAreLeft(t *testing.T) {
	ofUser := []candidate{{"cp", false}, {"n1", true}, {"n2", true}, {"n3", true}}
	for _, c := range []struct {
		name                  string
		candidates            []candidate
		tolerate              bool
		found                 []requirement.NodeFinding
		workers, nodes, avoid []string
	}{
		{"healthy", ofUser, false, nil, []string{"n1", "n2", "n3"}, []string{"n1", "n2", "n3"}, nil},
		{"healthy, made here", ofUser, true, nil, []string{"n1", "n2", "n3"}, []string{"cp", "n1", "n2", "n3"}, nil},
		{"the first worker hangs", ofUser, false, []requirement.NodeFinding{hung}, []string{"n2", "n3"}, []string{"n2", "n3"}, []string{"n1"}},
		{"of two workers one hangs, and the control plane stands in", ofUser[:3], true, []requirement.NodeFinding{hung}, []string{"n2", "cp"}, []string{"cp", "n2"}, []string{"n1"}},
		{"its owner's taints are respected", ofUser[:3], false, []requirement.NodeFinding{hung}, []string{"n2"}, []string{"n2"}, []string{"n1"}},
		{"one worker is no sick one", ofUser[:2], true, nil, []string{"n1"}, []string{"cp", "n1"}, nil},
		{"no exec, and reached otherwise", ofUser, false, []requirement.NodeFinding{{Node: "n1", State: requirement.NodeAnswersNoExec, Sick: true}},
			[]string{"n1", "n2", "n3"}, []string{"n1", "n2", "n3"}, nil},
	} {
		s := &Stage{candidates: c.candidates, plan: world.Plan{Tolerate: c.tolerate}, found: c.found}
		require.NoError(t, s.placeWorld(t.Context()), c.name)
		require.Equal(t, c.workers, s.plan.Workers, c.name)
		require.Equal(t, c.nodes, s.plan.Nodes, c.name)
		require.Equal(t, c.avoid, s.plan.Avoid, c.name)
	}
	require.True(t, takesOrdinary([]string{"node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/not-ready:NoSchedule"}), "it did before")
	require.False(t, takesOrdinary([]string{"gpu:NoSchedule"}))
}

func TestNobodyIsLeftForAFarRole(t *testing.T) {
	s, _ := newFakeStage(Options{})
	s.candidates, s.found = []candidate{{"n1", true}, {"n2", true}}, []requirement.NodeFinding{hung}
	require.NoError(t, s.placeWorld(t.Context()))
	s.players.replan(s.plan, s.soFar())
	s.explainMissing()
	for _, role := range []world.Role{world.Far, world.WebFar, world.MemberFar} {
		outcome, why := s.players.missingFor(requirement.Requirement{Roles: []world.Role{role}}, "")
		require.Equal(t, reports.Errored, outcome, role)
		require.Contains(t, why, "it needs two nodes that take ordinary pods, and 1 is left: n1 renews no Lease: nothing")
	}
	outcome, _ := s.players.missingFor(requirement.Requirement{Needs: []requirement.Feature{requirement.TwoNodes}}, "")
	require.Equal(t, reports.Errored, outcome)
	outcome, _ = s.players.missingFor(requirement.Requirement{Roles: []world.Role{world.ReferenceIngress}}, "")
	require.Equal(t, reports.Unsupported, outcome, "the cluster never had it")
}

func end(role world.Role, pod, node string) *requirement.End {
	return &requirement.End{Agent: probe.New(pod, nil), Role: role, Pod: pod, Namespace: "ns", Container: "client", Node: node}
}

// A pod that did not start costs what speaks of it, and not all that speaks of every node.
func TestWhatSpeaksOfEveryNodeIsJudgedOnThoseThatAreLeft(t *testing.T) {
	p := newPlayers(nil, nil, world.Plan{Workers: []string{"n1", "n2"}})
	p.addEnd(end(world.Everywhere, "every-0", "n1"), "")
	late := world.Pod{Object: world.Plan{}.Own("every-1", "n2", world.Container("client")), Plays: []world.Part{{Role: world.Everywhere}, {Role: world.Far}}}
	p.setLate(late, "every-1: ErrImagePull")
	every := requirement.Requirement{Roles: []world.Role{world.Everywhere}}
	outcome, _ := p.missingFor(every, "")
	require.Empty(t, outcome)
	require.Equal(t, []string{"judged without n2 lacks pods: every-1: ErrImagePull"}, p.without(every))
	far := requirement.Requirement{Roles: []world.Role{world.Far}}
	outcome, why := p.missingFor(far, "")
	require.Equal(t, reports.Errored, outcome)
	require.Equal(t, "a fixture did not start: every-1: ErrImagePull", why)
	require.Empty(t, p.without(requirement.Requirement{Roles: []world.Role{world.SiblingA}}))
	require.Len(t, p.without(requirement.Requirement{Roles: []world.Role{world.SiblingA}, PerNode: true}), 1)

	one := end(world.Everywhere, "every-2", "n3")
	p.addEnd(one, "")
	p.drop(one, "no route to host")
	require.Len(t, p.Ends(world.Everywhere), 1)
	require.Contains(t, p.NodeFindings()[1].String(), "n3 lacks pods: every-2 on n3 is not reached: no route to host")
}

// kubeletsOf starts a pod as soon as it is made, on the nodes where it does so at all.
func kubeletsOf(t *testing.T, kube *fake.Clientset, works func(node string) bool) {
	t.Helper()
	kube.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		pod := a.(clienttesting.CreateAction).GetObject().(*corev1.Pod)
		pod.Spec.NodeName = world.NodeOf(pod)
		if works(pod.Spec.NodeName) {
			now := metav1.Now()
			pod.Status = corev1.PodStatus{StartTime: &now, PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}},
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
		}
		return false, nil, nil
	})
}

func TestAKubeletThatStartsNothingIsNotWaitedFor(t *testing.T) {
	s, kube := newFakeStage(Options{})
	kubeletsOf(t, kube, func(node string) bool { return node != "n1" })
	var made []*corev1.Pod
	for _, node := range []string{"n1", "n2", "n3"} {
		pod := s.plan.Own("every-"+node, node, world.Container("client"))
		_, _, err := s.players.create(t.Context(), pod)
		require.NoError(t, err)
		made = append(made, pod)
	}
	begun := time.Now()
	seen, err := s.players.await(t.Context(), requirement.Ready, made...)
	require.NoError(t, err)
	require.Less(t, time.Since(begun), 30*time.Second, "far less than the wait for what makes no progress")
	require.Len(t, seen.ready, 2)
	require.Len(t, seen.sick, 1)
	require.Equal(t, "n1", seen.sick[0].Node)
	require.Equal(t, requirement.NodeStartsNoPod, seen.sick[0].State)
	require.Contains(t, seen.late[key(made[0])], "its kubelet has acknowledged none of 1 pods (no status.startTime)")
}

func TestPodsAreMovedFromASickNode(t *testing.T) {
	s, kube := newFakeStage(Options{Roles: world.Roles{world.SiblingA: world.Once, world.Everywhere: world.Once}})
	s.lab, s.cluster = &lab.Lab{}, &cluster.Cluster{}
	s.candidates, s.running = []candidate{{"n1", true}, {"n2", true}}, map[string]*corev1.Pod{}
	require.NoError(t, s.placeWorld(t.Context()))
	s.players.replan(s.plan, nil)
	kubeletsOf(t, kube, func(string) bool { return true })
	_, err := s.deployPods(t.Context(), s.options.Roles)
	require.NoError(t, err)
	require.NoError(t, s.deployServices(t.Context()))
	require.Equal(t, "n1", s.players.Ends(world.SiblingA)[0].Node)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.find(hung)
	require.NoError(t, s.leaveOut(ctx, nil))
	_, err = s.deployPods(t.Context(), s.options.Roles)
	require.NoError(t, err)
	require.Equal(t, "n2", s.players.Ends(world.SiblingA)[0].Node)
	require.Len(t, s.players.Ends(world.Everywhere), 1)
	pods, err := kube.CoreV1().Pods(s.plan.Main()).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, pod := range pods.Items {
		require.Equal(t, "n2", pod.Spec.NodeName, pod.Name)
	}
}

// barren is a way that leads nowhere, fruit one that brings a byte.
type barren struct{ dials *int }

func (b barren) Dial(context.Context) (io.ReadWriteCloser, error) {
	*b.dials++
	return nil, errors.New("no answer")
}

func TestAnotherWayIsTriedAfterOneThatBroughtNothing(t *testing.T) {
	p := newPlayers(nil, nil, world.Plan{Key: "k"})
	dials := 0
	r := &route{p: p, exec: barren{&dials}, node: "n1", ips: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, name: "a", port: 1}
	_, err := r.Dial(t.Context())
	require.ErrorContains(t, err, "no answer")
	_, err = r.Dial(t.Context())
	require.ErrorContains(t, err, "no answer")
	require.Equal(t, 2, dials, "there is no sibling: an exec is all that there is")

	require.Empty(t, p.siblings("n1"))
	p.addEnd(end(world.Everywhere, "every-0", "n1"), "")
	p.addEnd(end(world.Everywhere, "every-1", "n2"), "")
	host := end(world.Node, "node-1", "n3")
	host.HostNetwork = true
	p.addEnd(host, "")
	p.addEnd(end(world.Node, "node-2", "n2"), "")
	siblings := p.siblings("n1")
	require.Len(t, siblings, 2, "one on each other node")
	require.Equal(t, "every-1", siblings[0].Pod)
	p.detour("n2")
	require.Len(t, p.siblings("n1"), 1, "none that is reached by a relay itself")

	socket, ok := relayed([]string{"/agent", "relay", "/run/x.sock"})
	require.True(t, ok)
	require.Equal(t, "/run/x.sock", socket)
	for _, command := range [][]string{{"/agent", "version"}, {"/agent", "relay"}, {"/agent", "relay", "--to", "x"}, {"/agent", "relay", "x"}} {
		_, ok = relayed(command)
		require.False(t, ok, command)
	}
}
