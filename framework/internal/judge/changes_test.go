package judge

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/parley-k8s/parley/framework/requirement"
)

var begun = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

func node(name string, change func(*corev1.Node)) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}}
	n.Status.NodeInfo.BootID = "b"
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.9.0." + name[1:]}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(begun.Add(-time.Hour))}}
	if change != nil {
		change(&n)
	}
	return n
}

func ready(is corev1.ConditionStatus, since time.Duration) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Status.Conditions[0] = corev1.NodeCondition{Type: corev1.NodeReady, Status: is, Reason: "NodeStatusUnknown", Message: "Kubelet stopped posting node status.",
			LastTransitionTime: metav1.NewTime(begun.Add(since))}
	}
}

func pod(name, ip string, change func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name, UID: types.UID(name)}, Spec: corev1.PodSpec{NodeName: "n1"}}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: ip}}, ContainerStatuses: []corev1.ContainerStatus{{Name: "c", RestartCount: 1}}}
	if change != nil {
		change(&p)
	}
	return p
}

// ofRun makes a pod one of a run.
func ofRun(run string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Namespace, p.Labels = "parley-r", map[string]string{requirement.RunLabel: run} }
}

func TestChangesBetween(t *testing.T) {
	restarted := func(p *corev1.Pod) {
		p.Status.ContainerStatuses[0].RestartCount = 3
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137, FinishedAt: metav1.NewTime(begun)}
	}
	nodes := []corev1.Node{node("n1", nil), node("n2", nil)}
	pods := []corev1.Pod{pod("dns", "10.0.0.2", nil), pod("own", "10.0.0.3", ofRun("r"))}
	for name, c := range map[string]struct {
		nodes []corev1.Node
		pods  []corev1.Pod
		want  []string
	}{
		"nothing":            {nodes, pods, nil},
		"not ready":          {[]corev1.Node{nodes[0], node("n2", ready(corev1.ConditionUnknown, time.Minute))}, pods, []string{"node n2 is not Ready since 10:01:00 (NodeStatusUnknown: Kubelet stopped posting node status.)"}},
		"not ready, once":    {[]corev1.Node{nodes[0], node("n2", ready(corev1.ConditionTrue, time.Minute))}, pods, []string{"node n2 was not Ready until 10:01:00"}},
		"another node":       {append([]corev1.Node{node("n3", nil)}, nodes...), pods, []string{"node n3 appeared"}},
		"a forged node":      {append([]corev1.Node{node("n3", func(n *corev1.Node) { n.Labels = map[string]string{requirement.RunLabel: "r"} })}, nodes...), pods, nil},
		"a node less":        {nodes[:1], pods, []string{"node n2 vanished"}},
		"started anew":       {[]corev1.Node{nodes[0], node("n2", func(n *corev1.Node) { n.Status.NodeInfo.BootID = "c" })}, pods, []string{"node n2 was started anew"}},
		"cordoned":           {[]corev1.Node{nodes[0], node("n2", func(n *corev1.Node) { n.Spec.Unschedulable = true })}, pods, []string{"node n2 was cordoned"}},
		"another address":    {[]corev1.Node{nodes[0], node("n2", func(n *corev1.Node) { n.Status.Addresses[0].Address = "10.9.0.9" })}, pods, []string{"node n2 had the InternalIP 10.9.0.2 and has 10.9.0.9"}},
		"the address of n1":  {[]corev1.Node{nodes[0], node("n2", func(n *corev1.Node) { n.Status.Addresses[0].Address = "10.9.0.1" })}, pods, []string{"node n2 had the InternalIP 10.9.0.2 and has 10.9.0.1", "10.9.0.1 is the address of node n1 and of node n2, and was one's alone at the beginning"}},
		"restarts":           {nodes, []corev1.Pod{pod("dns", "10.0.0.2", restarted), pods[1]}, []string{"pod kube-system/dns on n1 has container c restarted 2 times (OOMKilled, exit code 137, at 10:00:00)"}},
		"a system pod less":  {nodes, pods[1:], []string{"pod kube-system/dns on n1 is gone"}},
		"a system pod more":  {nodes, append([]corev1.Pod{pod("new", "10.0.0.4", nil)}, pods...), []string{"pod kube-system/new on n1 appeared"}},
		"a pod of the world": {nodes, pods[:1], []string{"pod parley-r/own on n1 is gone"}},
		"a check's pod":      {nodes, append([]corev1.Pod{pod("check", "10.0.0.4", ofRun("r"))}, pods...), nil},
		"another run's":      {nodes, append([]corev1.Pod{pod("check", "10.0.0.4", ofRun("s"))}, pods...), nil},
		"another pod's address": {nodes, append([]corev1.Pod{pod("check", "10.0.0.3", ofRun("s"))}, pods...),
			[]string{"10.0.0.3 is the address of pod parley-r/check on n1 and of pod parley-r/own on n1, and was one's alone at the beginning"}},
		"a new address": {nodes, []corev1.Pod{pods[0], pod("own", "10.0.0.7", ofRun("r"))}, []string{"pod parley-r/own on n1 had the address 10.0.0.3 and has 10.0.0.7"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := seenOf("r", nodes, pods)
			before.at = begun
			var got []string
			for _, change := range changesBetween(before, seenOf("r", c.nodes, c.pods)) {
				got = append(got, change.Of+" "+change.What)
			}
			require.Equal(t, c.want, got)
		})
	}
	got := changesBetween(seenOf("r", nodes, pods), clusterSeen{err: errors.New("listing the nodes: forbidden")})
	require.Equal(t, "was not looked at for changes: listing the nodes: forbidden", got[0].What, "what was not seen is not called unchanged")
}

// Pods that checks make share an address for a while: that is seen though neither the beginning nor the end of a run has them.
func TestAnAddressThatIsSharedForAWhileIsSeen(t *testing.T) {
	one, two, ending := pod("one", "10.0.0.2", nil), pod("two", "10.0.0.2", nil), pod("ending", "10.0.0.9", func(p *corev1.Pod) {
		p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: begun}, []string{"parley.dev/test"}
		p.Status.ContainerStatuses[0].State.Running = &corev1.ContainerStateRunning{}
	})
	other := pod("other", "10.0.0.9", nil)
	s := &fakeStage{kube: fake.NewClientset(&one, &two, &ending, &other)}
	r := newRound(t, s, Options{})
	before := r.lookAtCluster()
	require.Len(t, before.shared, 2)
	stop := r.follow(r.followAddresses)
	require.Eventually(t, func() bool { return len(r.sharing.sentences()) > 0 }, time.Minute, 20*time.Millisecond)
	stop()
	require.NoError(t, s.kube.CoreV1().Pods("kube-system").Delete(t.Context(), "two", metav1.DeleteOptions{}))
	r.noteChanges(r.lookAtCluster(), r.lookAtCluster())
	changes := r.record.Complete(Catalogue{}, "").Changes
	require.Len(t, changes, 1, "what only a pod that ends shares is not told")
	require.Equal(t, "10.0.0.2", changes[0].Of)
	require.Contains(t, changes[0].What, "was for a while the address of pod kube-system/one on n1 and of pod kube-system/two on n1 (seen at ")
	require.Contains(t, r.Judge.env(requirement.Requirement{}, view{family: corev1.IPv4Protocol}, 0).SharedAddresses[0], "10.0.0.2", "and pod/ip-unique is told at its look at the end")
}

func TestALeaseThatIsNotRenewedAnyMore(t *testing.T) {
	skew := -time.Hour // of the node's clock
	lease := func(at time.Duration) []coordinationv1.Lease {
		l := coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
		seconds, when := int32(40), metav1.NewMicroTime(begun.Add(skew+at))
		l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &seconds, &when
		return []coordinationv1.Lease{l}
	}
	seen := func(at time.Duration, n corev1.Node, leases []coordinationv1.Lease) clusterSeen {
		s := seenOf("r", []corev1.Node{n}, nil)
		s.at = begun.Add(at)
		s.take(leases)
		return s
	}
	up := node("n1", nil)
	for name, c := range map[string]struct {
		after clusterSeen
		want  string
	}{
		"renewed":               {seen(2*time.Minute, up, lease(119*time.Second)), ""},
		"one is just due":       {seen(2*time.Minute, up, lease(110*time.Second)), ""},
		"hangs":                 {seen(2*time.Minute, up, lease(40*time.Second)), "has not renewed its Lease since 09:00:40, though one is due every 10s: its kubelet or its way to the API server hangs"},
		"was never renewed":     {seen(2*time.Minute, up, lease(-time.Second)), "has not renewed its Lease since 08:59:59, though one is due every 10s: its kubelet or its way to the API server hangs"},
		"the Lease is gone":     {seen(2*time.Minute, up, nil), ""},
		"told as not Ready":     {seen(2*time.Minute, node("n1", ready(corev1.ConditionUnknown, time.Minute)), lease(0)), "is not Ready since 10:01:00 (NodeStatusUnknown: Kubelet stopped posting node status.)"},
		"a short run ends soon": {seen(5*time.Second, up, lease(-9*time.Second)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			for _, change := range changesBetween(seen(0, up, lease(-time.Second)), c.after) {
				told = append(told, change.What)
			}
			require.Equal(t, c.want, strings.Join(told, "; "))
		})
	}
}
