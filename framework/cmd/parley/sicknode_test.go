package main

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/node"
)

// sickPlayers are pods on two nodes, of which a node may answer no exec, and what was found of the nodes.
type sickPlayers struct {
	requirement.Players // of the rest nothing is asked
	found               []requirement.NodeFinding
	mute                string // the node that answers no exec
}

func (p sickPlayers) NodeFindings() []requirement.NodeFinding { return p.found }

func (p sickPlayers) EndsFrom(_ string, r world.Role) []*requirement.End { return p.Ends(r) }

func (p sickPlayers) Ends(r world.Role) []*requirement.End {
	return []*requirement.End{{Role: r, Pod: "every-1", Node: "n1"}, {Role: r, Pod: "every-2", Node: "n2"}}
}

func (p sickPlayers) Dialer(end *requirement.End, _ ...string) probe.Dialer {
	if end.Node == p.mute {
		return dials(func() (io.ReadWriteCloser, error) { return nil, errors.New("dial tcp 10.0.0.2:10250: i/o timeout") })
	}
	return dials(func() (io.ReadWriteCloser, error) { return said{}, nil })
}

type dials func() (io.ReadWriteCloser, error)

func (d dials) Dial(context.Context) (io.ReadWriteCloser, error) { return d() }

// said is the output of an exec that works.
type said struct{}

func (said) Read(b []byte) (int, error)  { return copy(b, "parley agent"), io.EOF }
func (said) Write(b []byte) (int, error) { return len(b), nil }
func (said) Close() error                { return nil }

func nodeRow(t *testing.T, id string) requirement.Requirement {
	t.Helper()
	for _, q := range node.Requirements() {
		if q.ID == id {
			return q
		}
	}
	t.Fatalf("there is no %s", id)
	return requirement.Requirement{}
}

func sickEnv(q *requirement.Requirement, p sickPlayers) *requirement.Env {
	return &requirement.Env{Requirement: q, Family: corev1.IPv4Protocol, Players: p, Patience: 10 * time.Second, Kube: fake.NewClientset()}
}

// A node on which nothing of the run runs is red in the rows about its kubelet, at once and once, with what was found of it before.
func TestASickNodesOwnRowsAreRed(t *testing.T) {
	out := requirement.NodeFinding{Node: "n3", State: requirement.NodeStartsNoPod, Said: "none of 4 pods", Sick: true, LeftOut: true}
	kept := requirement.NodeFinding{Node: "n0", State: requirement.NodeTainted, LeftOut: true}
	for _, id := range []string{"node/api-to-kubelet-exec", "node/api-to-kubelet-logs", "node/api-to-kubelet-attach"} {
		q := nodeRow(t, id)
		f := requirement.AsFailure(q.Check(t.Context(), sickEnv(&q, sickPlayers{found: []requirement.NodeFinding{kept, out}})))
		require.NotNil(t, f, id)
		require.Equal(t, "kubelet of node n3", f.Target, id)
		require.Contains(t, f.Observed, "n3 starts no pod: none of 4 pods", id)
		require.Equal(t, requirement.SickIsFinal, f.Final, id)
	}
	q := nodeRow(t, "node/api-to-kubelet-exec")
	require.NoError(t, q.Check(t.Context(), sickEnv(&q, sickPlayers{found: []requirement.NodeFinding{kept}})), "its owner wants it so")
}

// A node that is known to answer no exec has one attempt, before the others; one that answers again passes.
func TestANodeThatAnswersNoExecHasHadItsTime(t *testing.T) {
	q := nodeRow(t, "node/api-to-kubelet-exec")
	mute := requirement.NodeFinding{Node: "n2", State: requirement.NodeAnswersNoExec, Said: "no answer within 10s", Sick: true}
	begun := time.Now()
	f := requirement.AsFailure(q.Check(t.Context(), sickEnv(&q, sickPlayers{found: []requirement.NodeFinding{mute}, mute: "n2"})))
	require.NotNil(t, f)
	require.Less(t, time.Since(begun), 5*time.Second, "far less than the patience")
	require.Equal(t, "dial tcp 10.0.0.2:10250: i/o timeout; before: no answer within 10s", f.Observed)
	require.NoError(t, q.Check(t.Context(), sickEnv(&q, sickPlayers{found: []requirement.NodeFinding{mute}})), "it answers again")

	env := sickEnv(&q, sickPlayers{found: []requirement.NodeFinding{mute}})
	_, err := env.Configz(t.Context(), "n2")
	require.ErrorContains(t, err, "its kubelet is not reached through the API server")
}

// A Lease that was seen not to be renewed, and was not since, need not be watched again.
func TestALeaseThatWasSeenToAgeIsRedAtOnce(t *testing.T) {
	q := nodeRow(t, "node/kubelet-to-api")
	last := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	hung := requirement.NodeFinding{Node: "n3", State: requirement.NodeRenewsNoLease, Since: last, Said: "others' were", Sick: true, LeftOut: true}
	env := sickEnv(&q, sickPlayers{found: []requirement.NodeFinding{hung}})
	for _, name := range []string{"n1", "n2", "n3"} {
		seconds, at := int32(40), metav1.NewMicroTime(last)
		_, err := env.Kube.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(t.Context(), &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: corev1.NamespaceNodeLease},
			Spec:       coordinationv1.LeaseSpec{LeaseDurationSeconds: &seconds, RenewTime: &at}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	begun := time.Now()
	f := requirement.AsFailure(q.Check(t.Context(), env))
	require.NotNil(t, f)
	require.Less(t, time.Since(begun), 5*time.Second)
	require.Equal(t, requirement.Stale, f.Reason)
	require.Equal(t, "n3 renews no Lease since 2026-01-02T03:04:05Z: others' were", f.Observed)
}

// Two nodes with one InternalIP are red also where one of them is not ready.
func TestAnAddressOfTwoNodesIsRedWhetherTheyAreReadyOrNot(t *testing.T) {
	q := nodeRow(t, "node/addresses")
	env := sickEnv(&q, sickPlayers{})
	for i, name := range []string{"n1", "n2"} {
		status := []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionUnknown}[i]
		_, err := env.Kube.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}}}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	f := requirement.AsFailure(q.Check(t.Context(), env))
	require.NotNil(t, f)
	require.Equal(t, requirement.NotDistinct, f.Reason)
	require.Equal(t, requirement.SharedIsFinal, f.Final, "no later attempt forgives it")

	// A kubelet may have put it right before the row is judged.
	shared := requirement.NodeFinding{Node: "n2", State: requirement.NodeSharesAddress, Said: "10.0.0.1, which n1 has too", Sick: true}
	f = requirement.AsFailure(q.Check(t.Context(), sickEnv(&q, sickPlayers{found: []requirement.NodeFinding{shared}})))
	require.NotNil(t, f)
	require.Equal(t, "as the run began: 10.0.0.1, which n1 has too", f.Observed)
}

// A node whose agent in its own network is not reached, and whose ordinary pod is, is asked for an exec like others.
func TestANodeThatLacksAPodIsAskedWhereItHasAnother(t *testing.T) {
	q := nodeRow(t, "node/api-to-kubelet-exec")
	lacks := requirement.NodeFinding{Node: "n2", State: requirement.NodeLacksPods, Said: "node-2 is not reached", Sick: true, LeftOut: true}
	require.NoError(t, q.Check(t.Context(), sickEnv(&q, sickPlayers{found: []requirement.NodeFinding{lacks}})))
	f := requirement.AsFailure(q.Check(t.Context(), sickEnv(&q, sickPlayers{found: []requirement.NodeFinding{lacks,
		{Node: "n2", State: requirement.NodeAnswersNoExec, Said: "pod does not exist", Sick: true}}, mute: "n2"})))
	require.NotNil(t, f)
	require.Equal(t, "dial tcp 10.0.0.2:10250: i/o timeout; before: pod does not exist", f.Observed)
}
