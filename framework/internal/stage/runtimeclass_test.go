package stage

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlaces(t *testing.T) {
	taint := func(effect corev1.TaintEffect) []corev1.Taint {
		return []corev1.Taint{{Key: "sandbox", Value: "gvisor", Effect: effect}}
	}
	node := func(name string, labels map[string]string, taints []corev1.Taint) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: corev1.NodeSpec{Taints: taints}}
	}
	sandbox := map[string]string{"sandbox": "gvisor"}
	nodes := []corev1.Node{
		node("plain", nil, nil),
		node("sandbox", sandbox, taint(corev1.TaintEffectNoSchedule)),
		node("other", sandbox, []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectNoExecute}}),
		node("soft", sandbox, []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectPreferNoSchedule}}),
	}
	got := places(&nodev1.Scheduling{NodeSelector: sandbox,
		Tolerations: []corev1.Toleration{{Key: "sandbox", Operator: corev1.TolerationOpEqual, Value: "gvisor", Effect: corev1.TaintEffectNoSchedule}}}, nodes)
	require.Equal(t, map[string]place{"plain": {false, true}, "sandbox": {true, true}, "other": {true, false}, "soft": {true, true}}, got)
	require.True(t, places(&nodev1.Scheduling{}, nodes)["plain"].Selected)
}
