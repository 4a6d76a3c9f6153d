package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func daemon(name, image string) appsv1.DaemonSet {
	d := appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: name}}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Image: image}}
	return d
}

func TestCNIOf(t *testing.T) {
	proxy := daemon("kube-proxy", "registry.k8s.io/kube-proxy:v1.36.3")
	for want, daemons := range map[string][]appsv1.DaemonSet{
		"kindnet v20260101":   {proxy, daemon("kindnet", "docker.io/kindest/kindnetd:v20260101")},
		"cilium v1.19.0":      {daemon("cilium-envoy", "quay.io/cilium/envoy:v1"), daemon("cilium", "quay.io/cilium/cilium:v1.19.0@sha256:00")},
		"calico v3.31":        {daemon("calico-node", "localhost:5000/calico/node:v3.31")},
		"flannel":             {daemon("kube-flannel-ds", "localhost:5000/flannel")},
		"not told":            {proxy},
		"kube-router v2":      {daemon("kube-router", "kube-router:v2")},
		"antrea 2.4":          {daemon("antrea-agent", "antrea:2.4")},
		"ovn-kubernetes v1.2": {daemon("ovnkube-node", "ovn:v1.2")},
	} {
		require.Equal(t, want, detectCNI(daemons, nil))
	}
	require.Equal(t, "flannel (k3s)", detectCNI(nil, []Node{{Kubelet: "v1.36.3+k3s1"}}))
}

func TestProxyModeOf(t *testing.T) {
	for text, want := range map[string]string{
		"mode: nftables": "nftables", `mode: ""`: "iptables", "kind: KubeProxyConfiguration": "iptables",
	} {
		mode, ok := proxyModeOf(map[string]string{"config.conf": text})
		require.True(t, ok)
		require.Equal(t, want, mode)
	}
	for _, data := range []map[string]string{nil, {"config.conf": "mode: [not, a, mode"}} {
		_, ok := proxyModeOf(data)
		require.False(t, ok)
	}
	require.Equal(t, "cilium (no kube-proxy)", replacedProxy([]appsv1.DaemonSet{daemon("cilium", "c:1")}))
	require.Equal(t, notKnown, replacedProxy([]appsv1.DaemonSet{daemon("cilium", "c:1"), daemon("kube-proxy", "p:1")}))
}

func TestFamilies(t *testing.T) {
	v4, v6 := corev1.IPv4Protocol, corev1.IPv6Protocol
	service := &corev1.Service{Spec: corev1.ServiceSpec{IPFamilies: []corev1.IPFamily{v6}}}
	dual := []Node{{PodCIDRs: []string{"10.244.0.0/24", "fd00::/64"}}}
	require.Equal(t, []corev1.IPFamily{v6, v4}, families(service, dual, nil), "the Service's family is the primary one")
	require.Equal(t, []corev1.IPFamily{v4, v6}, families(nil, dual, nil))
	pods := &corev1.PodList{Items: []corev1.Pod{
		{Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "192.0.2.7"}}}},
		{Spec: corev1.PodSpec{HostNetwork: true}, Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "2001:db8::7"}}}},
	}}
	require.Equal(t, []corev1.IPFamily{v4}, families(nil, nil, pods), "a node's address says nothing of pods'")
}

func TestReadNodes(t *testing.T) {
	got := readNodes([]corev1.Node{
		{
			ObjectMeta: metav1.ObjectMeta{Name: "w"},
			Spec: corev1.NodeSpec{PodCIDRs: []string{"10.244.1.0/24"}, Taints: []corev1.Taint{
				{Key: "soft", Effect: corev1.TaintEffectPreferNoSchedule}, {Key: "gpu", Effect: corev1.TaintEffectNoSchedule},
			}},
			Status: corev1.NodeStatus{
				Addresses:  []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "w"}, {Type: corev1.NodeInternalIP, Address: "192.0.2.2"}},
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			},
		},
		{ObjectMeta: metav1.ObjectMeta{Name: "z", Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}}},
	})
	require.Equal(t, []string{"z", "w"}, []string{got[0].Name, got[1].Name}, "the control plane comes first")
	require.Equal(t, "control-plane", got[0].Role)
	require.False(t, got[0].Ready)
	require.True(t, got[1].Ready)
	require.Equal(t, []string{"192.0.2.2"}, got[1].InternalIPs)
	require.Equal(t, []string{"gpu:NoSchedule"}, got[1].Taints)
}
