package nodehealth

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/framework/requirement"
)

func node(name string, change ...func(*corev1.Node)) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}, Status: corev1.NodeStatus{
		NodeInfo:   corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "amd64"},
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0." + name[1:]}}}}
	for _, c := range change {
		c(&n)
	}
	return n
}

func TestSurveyNamesEveryNodeThatIsNotLikeTheOthers(t *testing.T) {
	since := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	nodes := []corev1.Node{
		node("n1"),
		node("n2", func(n *corev1.Node) {
			n.Status.Conditions[0] = corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionUnknown, Reason: "NodeStatusUnknown",
				Message: "Kubelet stopped posting node status.", LastTransitionTime: since}
		}),
		node("n3", func(n *corev1.Node) {
			n.Spec.Unschedulable = true
			n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule, TimeAdded: &since}}
		}),
		node("n4", func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule}, {Key: "soft", Effect: corev1.TaintEffectPreferNoSchedule}}
		}),
		node("n5", func(n *corev1.Node) { n.Status.NodeInfo.OperatingSystem = "windows" }),
		node("n6", func(n *corev1.Node) { n.Status.NodeInfo.Architecture = "s390x" }),
		node("n7", func(n *corev1.Node) { n.Status.Addresses[0].Address = "10.0.0.1" }),
		node("n8", func(n *corev1.Node) { n.Status.Addresses[0].Address = "10.0.0.1"; n.Labels[requirement.RunLabel] = "x" }),
		node("n9", func(n *corev1.Node) { n.Status.Conditions = nil }),
	}
	ordinary := func(n *corev1.Node) bool { return len(keeps(n)) == 0 }
	var said []string
	for _, f := range Survey(nodes, Takes{Ordinary: ordinary, Architectures: []string{"amd64", "arm64"}}) {
		mark := ""
		if f.Sick {
			mark += " sick"
		}
		if f.LeftOut {
			mark += " left out"
		}
		said = append(said, f.String()+mark)
	}
	require.Equal(t, []string{
		"n1 shares its InternalIP: status.addresses has InternalIP 10.0.0.1, which n7 has too: the API server may reach the other's kubelet sick",
		`n2 is not ready since 2026-01-02T03:04:05Z: condition Ready is Unknown, NodeStatusUnknown: "Kubelet stopped posting node status." sick left out`,
		"n3 is cordoned since 2026-01-02T03:04:05Z: spec.unschedulable is set left out",
		"n4 is tainted: ordinary pods don't tolerate gpu=yes:NoSchedule left out",
		"n5 has another platform: it is windows/amd64, and the agent is built for linux on amd64, arm64 left out",
		"n6 has another platform: it is linux/s390x, and the agent is built for linux on amd64, arm64 left out",
		"n7 shares its InternalIP: status.addresses has InternalIP 10.0.0.1, which n1 has too: the API server may reach the other's kubelet sick",
		"n9 is not ready: it has no condition Ready: no kubelet has told of it yet sick left out",
	}, said)

	tolerant := Survey(nodes, Takes{Ordinary: func(*corev1.Node) bool { return true }, Architectures: []string{"amd64"}})
	for _, f := range tolerant {
		require.NotContains(t, []string{requirement.NodeCordoned, requirement.NodeTainted}, f.State, "the run's pods go there")
	}
}

// clocked are Leases of which a test moves the time.
type clocked struct {
	*Leases
	time time.Time
}

func newClocked() *clocked {
	c := &clocked{time: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)}
	c.Leases = &Leases{last: map[string]renewal{}, now: func() time.Time { return c.time }}
	return c
}

// renew has the node renew its Lease, by a clock that is so much behind.
func (c *clocked) renew(node string, behind time.Duration) {
	seconds, at := int32(40), metav1.NewMicroTime(c.time.Add(-behind))
	c.take(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: node}, Spec: coordinationv1.LeaseSpec{LeaseDurationSeconds: &seconds, RenewTime: &at}})
}

func TestALeaseIsOverdueWhereOthersAreRenewed(t *testing.T) {
	c := newClocked()
	c.renew("n1", 0)
	c.renew("n2", time.Minute) // its clock is behind, or it has stopped
	require.Equal(t, []string{"n2"}, c.Suspicious())
	c.time = c.time.Add(10 * time.Second)
	c.renew("n1", 0)
	c.time = c.time.Add(10 * time.Second)
	_, overdue := c.Overdue("n2")
	require.False(t, overdue, "nobody's was renewed since it was due: it is the API server that is slow")
	c.renew("n2", time.Minute)
	c.time = c.time.Add(13 * time.Second)
	c.renew("n1", 0)
	_, overdue = c.Overdue("n2")
	require.False(t, overdue, "13 s are within what a busy machine takes")
	c.time = c.time.Add(10 * time.Second)
	o, overdue := c.Overdue("n2")
	require.True(t, overdue)
	require.Equal(t, 23*time.Second, o.Silent)
	require.Contains(t, o.String(), "was renewed last at 2026-01-02T02:59:20Z; one is due every 10.4s, and in 23s that it was watched only others' were renewed")
	c.renew("n2", time.Minute)
	_, overdue = c.Overdue("n2")
	require.False(t, overdue, "a clock that is behind is no kubelet that has stopped")
	_, overdue = c.Overdue("n1")
	require.False(t, overdue)
	_, overdue = c.Overdue("n3")
	require.False(t, overdue, "nothing is known of it")
}

func TestANodeIsGivenUpBesideOthersOnly(t *testing.T) {
	const s = time.Second
	late := &Overdue{Due: 10 * s, Silent: 15 * s}
	settled := func(since time.Duration) Others { return Others{Nodes: 2, Ready: 6, Settled: since, Took: 9 * s} }
	for _, c := range []struct {
		name  string
		pods  Pods
		state string
	}{
		{"all are ready", Pods{All: 3, Ready: 3, Acknowledged: 3, Quiet: 60 * s, Others: settled(60 * s)}, ""},
		{"the rest was given up", Pods{All: 3, Ready: 2, GivenUp: 1, Quiet: 60 * s, Others: settled(60 * s)}, ""},
		{"others are awaited still", Pods{All: 3, Overdue: late, Quiet: 60 * s, Others: Others{Nodes: 2, Ready: 5, Awaited: 1, Settled: 60 * s}}, ""},
		{"none of the others' became ready", Pods{All: 3, Quiet: 60 * s, Others: Others{Nodes: 2, Settled: 60 * s}}, ""},
		{"a kubelet that hangs", Pods{All: 3, Overdue: late, Quiet: 14 * s, Others: settled(3 * s)}, requirement.NodeRenewsNoLease},
		{"a kubelet that hung midway", Pods{All: 3, Ready: 1, Acknowledged: 2, Overdue: late, Quiet: 8 * s, Others: settled(3 * s)}, requirement.NodeRenewsNoLease},
		{"a Lease is late, and pods come up", Pods{All: 3, Ready: 1, Acknowledged: 3, Overdue: late, Quiet: s, Others: settled(3 * s)}, ""},
		{"no pod is acknowledged", Pods{All: 3, Quiet: 15 * s, Others: settled(15 * s)}, requirement.NodeStartsNoPod},
		{"others took long too", Pods{All: 3, Quiet: 15 * s, Others: Others{Nodes: 2, Ready: 6, Took: 40 * s, Settled: 15 * s}}, ""},
		{"acknowledged pods have more time", Pods{All: 3, Acknowledged: 1, Quiet: 29 * s, Others: settled(29 * s)}, ""},
		{"but not for ever", Pods{All: 3, Acknowledged: 3, Quiet: 30 * s, Others: settled(30 * s)}, requirement.NodeStartsNoPod},
		{"one pod of it runs", Pods{All: 3, Acknowledged: 3, Ready: 1, Quiet: 70 * s, Others: settled(70 * s)}, ""},
		{"a pod alone", Pods{All: 1, Quiet: 60 * s}, ""},
		{"a pod alone, and no Lease", Pods{All: 1, Overdue: late, Quiet: 15 * s}, requirement.NodeRenewsNoLease},
		{"a pod alone that was acknowledged", Pods{All: 1, Acknowledged: 1, Overdue: late, Quiet: 60 * s}, ""},
	} {
		f, given := GiveUp(c.pods)
		require.Equal(t, c.state, f.State, c.name)
		require.Equal(t, c.state != "", given, c.name)
	}
}
