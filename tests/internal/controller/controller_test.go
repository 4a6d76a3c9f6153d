package controller

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

func event(at int, by, reason, message string) *corev1.Event {
	return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: reason}, InvolvedObject: corev1.ObjectReference{UID: "uid-x"},
		Type: "Warning", Reason: reason, Message: message, Source: corev1.EventSource{Component: by},
		LastTimestamp: metav1.NewTime(time.Unix(int64(at), 0))}
}

func TestOfService(t *testing.T) {
	named := func(name string, change func(*corev1.Service)) *corev1.Service {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: "uid-x"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}
		if name != "mine" {
			s.UID = "uid-other"
		}
		change(s)
		return s
	}
	plain := func(*corev1.Service) {}
	has := func(s *corev1.Service) {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.7"}}
	}
	class := "of.others/x"
	for title, c := range map[string]struct {
		mine  *corev1.Service
		there []runtime.Object
		says  string
	}{
		"nobody claims it": {mine: named("mine", plain), says: "no controller says a word of it"},
		"events, the last first": {mine: named("mine", plain), there: []runtime.Object{
			event(1, "service-controller", "EnsuringLoadBalancer", "Ensuring load balancer"),
			event(2, "service-controller", "SyncLoadBalancerFailed", "no subnet")},
			says: "its controller says: service-controller Warning SyncLoadBalancerFailed: no subnet; service-controller Warning EnsuringLoadBalancer: Ensuring load balancer"},
		"an event of a bystander": {mine: named("mine", plain), there: []runtime.Object{event(1, "endpoint-slice-controller", "FailedToUpdateEndpointSlices", "conflict")},
			says: "no controller says a word of it"},
		"a condition": {mine: named("mine", func(s *corev1.Service) {
			s.Status.Conditions = []metav1.Condition{{Type: "LoadBalancerProvisioned", Status: "False", Reason: "NoPool", Message: "no pool"}}
		}), says: "its controller says: LoadBalancerProvisioned=False (NoPool) no pool"},
		"a finalizer": {mine: named("mine", func(s *corev1.Service) { s.Finalizers = []string{"service.kubernetes.io/load-balancer-cleanup"} }),
			says: "its controller says nothing of it; it has the finalizer service.kubernetes.io/load-balancer-cleanup"},
		"another has an address": {mine: named("mine", plain), there: []runtime.Object{named("web", has)},
			says: "its controller says nothing of it; the Service ns/web has the address 192.0.2.7"},
		"another, of another class": {mine: named("mine", plain), there: []runtime.Object{named("web", func(s *corev1.Service) { has(s); s.Spec.LoadBalancerClass = &class })},
			says: "no controller says a word of it"},
		"another has none": {mine: named("mine", plain), there: []runtime.Object{named("web", plain)}, says: "no controller says a word of it"},
	} {
		t.Run(title, func(t *testing.T) {
			claim, err := OfService(t.Context(), fake.NewClientset(c.there...), c.mine)
			require.NoError(t, err)
			require.Equal(t, c.says, claim.String())
			require.Equal(t, c.says != "no controller says a word of it", claim.Claimed())
		})
	}
}

func TestOfIngress(t *testing.T) {
	name := "nginx"
	mine := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "mine", UID: "uid-x"}, Spec: networkingv1.IngressSpec{IngressClassName: &name}}
	class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressClassSpec{Controller: "k8s.io/ingress-nginx"}}
	other := mine.DeepCopy()
	other.Name, other.UID, other.Status.LoadBalancer.Ingress = "site", "uid-site", []networkingv1.IngressLoadBalancerIngress{{Hostname: "lb.example"}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ingress", Name: "controller-0", Labels: map[string]string{"app.kubernetes.io/name": "ingress-nginx"}},
		Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{Phase: corev1.PodRunning,
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}}}
	for says, there := range map[string][]runtime.Object{
		"no controller says a word of it":                                                                                               nil,
		"its controller says: nginx Warning Rejected: bad host":                                                                         {event(1, "nginx", "Rejected", "bad host")},
		"its controller says nothing of it; the Ingress ns/site has the address lb.example":                                             {other},
		"its controller says nothing of it; ingress/controller-0 on n1: Running, not ready, its container c waiting (CrashLoopBackOff)": {pod},
	} {
		claim, err := OfIngress(t.Context(), fake.NewClientset(there...), mine, class)
		require.NoError(t, err)
		require.Equal(t, says, claim.String())
	}
}
