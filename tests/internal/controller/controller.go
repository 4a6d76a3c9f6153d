// Package controller says what the controllers of a cluster say of an object that one of them has to serve: whether anybody took it up, and
// why nothing came of it.
package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Claim is what was found of a controller that takes care of an object. It is empty where nobody claims the object.
type Claim struct {
	// Signs are what shows that there is such a controller: "the finalizer x", "Service ns/name has the address 192.0.2.1".
	Signs []string
	// Words are what it says of this object, in events and conditions, the last first.
	Words []string
}

// Claimed says whether anybody takes care of the object.
func (c Claim) Claimed() bool { return len(c.Signs)+len(c.Words) > 0 }

func (c Claim) String() string {
	if !c.Claimed() {
		return "no controller says a word of it"
	}
	var parts []string
	if len(c.Words) > 0 {
		parts = append(parts, "its controller says: "+strings.Join(c.Words, "; "))
	} else {
		parts = append(parts, "its controller says nothing of it")
	}
	return strings.Join(append(parts, c.Signs...), "; ")
}

// bystanders write events about any Service, whoever takes care of it.
var bystanders = []string{"endpoint-controller", "endpoint-slice-controller", "endpoint-slice-mirroring-controller", "ipallocator-repair-controller",
	"portallocator-repair-controller"}

// ofEvents adds what events say of the object.
func (c *Claim) ofEvents(ctx context.Context, kube kubernetes.Interface, object metav1.Object) error {
	found, err := kube.CoreV1().Events(object.GetNamespace()).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(object.GetUID())})
	if err != nil {
		return fmt.Errorf("listing the events of %s: %w", object.GetName(), err)
	}
	events := slices.DeleteFunc(found.Items, func(e corev1.Event) bool { return e.InvolvedObject.UID != object.GetUID() })
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return last(b).Compare(last(a).Time) })
	for _, e := range events {
		by := cmp.Or(e.ReportingController, e.Source.Component)
		if slices.Contains(bystanders, by) {
			continue
		}
		c.Words = append(c.Words, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", by, e.Type, e.Reason, e.Message)))
	}
	return nil
}

func last(e corev1.Event) metav1.Time {
	switch {
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp
	case !e.EventTime.IsZero():
		return metav1.Time{Time: e.EventTime.Time}
	}
	return e.CreationTimestamp
}

// Conditions are the words of an object's conditions.
func Conditions(all []metav1.Condition) (words []string) {
	for _, c := range all {
		words = append(words, strings.TrimSpace(fmt.Sprintf("%s=%s (%s) %s", c.Type, c.Status, c.Reason, c.Message)))
	}
	return words
}

// OfService is who takes care of a Service of type LoadBalancer: a controller that says something of it, puts a finalizer on it, or has
// given others of its class an address.
func OfService(ctx context.Context, kube kubernetes.Interface, service *corev1.Service) (c Claim, err error) {
	if err := c.ofEvents(ctx, kube, service); err != nil {
		return c, err
	}
	c.Words = append(c.Words, Conditions(service.Status.Conditions)...)
	for _, finalizer := range service.Finalizers {
		c.Signs = append(c.Signs, "it has the finalizer "+finalizer)
	}
	all, err := kube.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return c, fmt.Errorf("listing the Services: %w", err)
	}
	for _, other := range all.Items {
		if ingress := other.Status.LoadBalancer.Ingress; other.UID != service.UID && other.Spec.Type == corev1.ServiceTypeLoadBalancer &&
			classOf(&other) == classOf(service) && len(ingress) > 0 {
			c.Signs = append(c.Signs, fmt.Sprintf("the Service %s/%s has the address %s", other.Namespace, other.Name, ingress[0].IP+ingress[0].Hostname))
			break
		}
	}
	return c, nil
}

func classOf(service *corev1.Service) string {
	if class := service.Spec.LoadBalancerClass; class != nil {
		return *class
	}
	return ""
}

// OfIngress is who takes care of an Ingress of the class: a controller that says something of it, has given others of the class an address,
// or whose pods are there by the label app.kubernetes.io/name.
func OfIngress(ctx context.Context, kube kubernetes.Interface, ingress *networkingv1.Ingress, class *networkingv1.IngressClass) (c Claim, err error) {
	if err := c.ofEvents(ctx, kube, ingress); err != nil {
		return c, err
	}
	all, err := kube.NetworkingV1().Ingresses(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return c, fmt.Errorf("listing the Ingresses: %w", err)
	}
	for _, other := range all.Items {
		if other.UID != ingress.UID && other.Spec.IngressClassName != nil && *other.Spec.IngressClassName == class.Name && len(other.Status.LoadBalancer.Ingress) > 0 {
			at := other.Status.LoadBalancer.Ingress[0]
			c.Signs = append(c.Signs, fmt.Sprintf("the Ingress %s/%s has the address %s", other.Namespace, other.Name, at.IP+at.Hostname))
			break
		}
	}
	pods, err := podsOf(ctx, kube, class.Spec.Controller)
	c.Signs = append(c.Signs, pods...)
	return c, err
}

// podsOf are the pods, and what state they are in, that are named as a part of the controller's name is: "k8s.io/ingress-nginx" runs in
// pods of ingress-nginx.
func podsOf(ctx context.Context, kube kubernetes.Interface, controller string) (signs []string, err error) {
	_, name, ok := strings.Cut(controller, "/")
	if !ok {
		name = controller
	}
	pods, err := kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of the controller %s: %w", controller, err)
	}
	for _, pod := range pods.Items {
		if label := pod.Labels["app.kubernetes.io/name"]; label != "" && label == name {
			signs = append(signs, Pod(&pod))
		}
	}
	return signs, nil
}

// Pod is a pod and its state in a few words: "ns/name on n1: Running, not ready, its container c waiting (CrashLoopBackOff)".
func Pod(pod *corev1.Pod) string {
	on := ""
	if pod.Spec.NodeName != "" {
		on = " on " + pod.Spec.NodeName
	}
	state := string(pod.Status.Phase)
	for _, c := range pod.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case corev1.PodReady:
			state += ", not ready"
		case corev1.PodScheduled:
			state += ", not scheduled: " + c.Message
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			state += fmt.Sprintf(", its container %s waiting (%s)", c.Name, w.Reason)
		}
	}
	return fmt.Sprintf("%s/%s%s: %s", pod.Namespace, pod.Name, on, state)
}
