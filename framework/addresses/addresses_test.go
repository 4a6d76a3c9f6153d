package addresses

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func pod(name string, change func(*corev1.Pod), ips ...string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)}, Spec: corev1.PodSpec{NodeName: "n"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	for _, ip := range ips {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	if change != nil {
		change(&p)
	}
	return p
}

func terminating(running bool) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.DeletionTimestamp = &metav1.Time{}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{}}
		if running {
			p.Status.ContainerStatuses[0].State.Running = &corev1.ContainerStateRunning{}
		}
	}
}

func TestShared(t *testing.T) {
	ended := func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }
	host := func(p *corev1.Pod) { p.Spec.HostNetwork = true }
	pending := func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }
	node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: "10.9.0.1"}, {Type: corev1.NodeExternalIP, Address: "10.0.0.2"}}}}
	for name, c := range map[string]struct {
		pods    []corev1.Pod
		want    []string
		passing bool
	}{
		"each its own":           {pods: []corev1.Pod{pod("a", nil, "10.0.0.2", "fd00::2"), pod("b", nil, "10.0.0.3", "fd00::3")}},
		"two pods":               {pods: []corev1.Pod{pod("a", nil, "10.0.0.2"), pod("b", nil, "10.0.0.2")}, want: []string{"10.0.0.2 is the address of pod ns/a on n and of pod ns/b on n"}},
		"the second address":     {pods: []corev1.Pod{pod("a", nil, "10.0.0.2", "fd00::2"), pod("b", nil, "10.0.0.3", "fd00:0::2")}, want: []string{"fd00::2 is the address of pod ns/a on n and of pod ns/b on n"}},
		"one that starts":        {pods: []corev1.Pod{pod("a", nil, "10.0.0.2"), pod("b", pending, "10.0.0.2")}, want: []string{"10.0.0.2 is the address of pod ns/a on n and of pod ns/b on n"}},
		"one that has ended":     {pods: []corev1.Pod{pod("a", nil, "10.0.0.2"), pod("b", ended, "10.0.0.2")}},
		"a pod and a node":       {pods: []corev1.Pod{pod("a", nil, "10.9.0.1")}, want: []string{"10.9.0.1 is the address of node n and of pod ns/a on n"}},
		"a hostNetwork pod":      {pods: []corev1.Pod{pod("a", host, "10.9.0.1")}},
		"one that still runs":    {pods: []corev1.Pod{pod("a", nil, "10.0.0.2"), pod("b", terminating(true), "10.0.0.2")}, want: []string{"10.0.0.2 is the address of pod ns/a on n and of pod ns/b on n (terminating)"}, passing: true},
		"one that runs no more":  {pods: []corev1.Pod{pod("a", nil, "10.0.0.2"), pod("b", terminating(false), "10.0.0.2")}},
		"no address, twice":      {pods: []corev1.Pod{pod("a", nil), pod("b", nil)}},
		"what is no address":     {pods: []corev1.Pod{pod("a", nil, "x"), pod("b", nil, "x")}},
		"an ExternalIP is no ip": {pods: []corev1.Pod{pod("a", nil, "10.0.0.2")}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range Of(c.pods, []corev1.Node{node}).Shared() {
				got = append(got, s.String())
				require.Equal(t, c.passing, s.Passing())
				require.True(t, s.Pods())
			}
			require.Equal(t, c.want, got)
		})
	}
}

// Two looks of which the lists have another order say the same.
func TestSharedInOneOrder(t *testing.T) {
	pod := func(name string) corev1.Pod {
		return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: corev1.PodSpec{NodeName: "n1"},
			Status: corev1.PodStatus{PodIP: "10.0.0.2", PodIPs: []corev1.PodIP{{IP: "10.0.0.2"}}}}
	}
	one, two := pod("one"), pod("two")
	for _, pods := range [][]corev1.Pod{{one, two}, {two, one}} {
		shared := Of(pods, nil).Shared()
		require.Len(t, shared, 1)
		require.Equal(t, "10.0.0.2 is the address of pod ns/one on n1 and of pod ns/two on n1", shared[0].String())
	}
}
