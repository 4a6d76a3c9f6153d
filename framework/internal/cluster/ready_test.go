package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func readyNode(name string, status corev1.ConditionStatus, message string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, Message: message}},
	}}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	a := readyNode("a", corev1.ConditionTrue, "")
	b := readyNode("b", corev1.ConditionFalse, "container runtime network not ready")
	require.NoError(t, nodesReady(map[string]*corev1.Node{"a": a}, 1))
	require.EqualError(t, nodesReady(map[string]*corev1.Node{"a": a}, 2), "1 of 2 nodes have joined")
	require.EqualError(t, nodesReady(map[string]*corev1.Node{"a": a, "b": b}, 2),
		"nodes not Ready: b (container runtime network not ready)")
	a.Spec.Taints = []corev1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}}
	require.NoError(t, nodesReady(map[string]*corev1.Node{"a": a}, 1))
	a.Spec.Taints = append(a.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule})
	require.EqualError(t, nodesReady(map[string]*corev1.Node{"a": a}, 1), "nodes not Ready: a (still tainted node.kubernetes.io/not-ready:NoSchedule)")

	d := &appsv1.Deployment{Status: appsv1.DeploymentStatus{Replicas: 2}}
	require.EqualError(t, deploymentAvailable(map[string]*appsv1.Deployment{"coredns": d}), "deployment coredns has 0 of 2 replicas available")
	d.Status.AvailableReplicas = 1
	d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue}}
	require.NoError(t, deploymentAvailable(map[string]*appsv1.Deployment{"coredns": d}))
	require.Error(t, deploymentAvailable(nil))

	s := &appsv1.DaemonSet{Status: appsv1.DaemonSetStatus{NumberAvailable: 1}}
	require.EqualError(t, daemonsAvailable(map[string]*appsv1.DaemonSet{"kube-proxy": s}, 3), "daemon set kube-proxy runs on 1 of 3 nodes")
	require.NoError(t, daemonsAvailable(map[string]*appsv1.DaemonSet{"kube-proxy": s}, 1))
	require.Error(t, daemonsAvailable(nil, 1))
}

func TestFollowSeesChanges(t *testing.T) {
	client := fake.NewClientset(readyNode("a", corev1.ConditionFalse, "not yet"))
	asked := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() {
		done <- watchUntil(t.Context(), listNodes(client), func(seen map[string]*corev1.Node) error {
			asked <- struct{}{}
			return nodesReady(seen, 1)
		})
	}()
	<-asked
	// The fake forgets changes made between a list and its watch, so the change is made until it is seen.
	require.Eventually(t, func() bool {
		_, err := client.CoreV1().Nodes().Update(t.Context(), readyNode("a", corev1.ConditionTrue, ""), metav1.UpdateOptions{})
		require.NoError(t, err)
		select {
		case err := <-done:
			require.NoError(t, err)
			return true
		default:
			return false
		}
	}, 20*time.Second, 20*time.Millisecond)
}

func TestFollowEndsWithWhatIsMissing(t *testing.T) {
	client := fake.NewClientset(readyNode("a", corev1.ConditionFalse, "no network"))
	late := errors.New("too late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, late)
	defer cancel()
	err := watchUntil(ctx, listNodes(client), func(seen map[string]*corev1.Node) error { return nodesReady(seen, 1) })
	require.ErrorIs(t, err, late)
	require.ErrorContains(t, err, "nodes not Ready: a (no network)")
	broken := errors.New("broken")
	err = watchUntil(t.Context(), listNodes(client), func(map[string]*corev1.Node) error { return broken })
	require.ErrorIs(t, err, broken)
}
