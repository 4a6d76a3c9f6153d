package service

import (
	"context"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// ownService makes a Service of the check's own, which is removed after the check. The error of an API server that refuses it
// can be asked about with apierrors.
func ownService(ctx context.Context, env *requirement.Env, namespace string, spec corev1.ServiceSpec) (requirement.ServiceSeen, error) {
	meta := env.ObjectMeta("")
	meta.Namespace = namespace
	made, err := requirement.Own(ctx, env, env.Kube.CoreV1().Services(namespace), &corev1.Service{ObjectMeta: meta, Spec: spec})
	return requirement.ServiceSeen{Service: made}, err
}

// handMade writes an EndpointSlice of the Service with those addresses, all ready, at one port, which is removed after the
// check. port has the name of the Service's port.
func handMade(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, port discoveryv1.EndpointPort, ips ...netip.Addr) (*discoveryv1.EndpointSlice, error) {
	labels := env.Labels()
	labels[discoveryv1.LabelServiceName], labels[discoveryv1.LabelManagedBy] = service.Name, "parley.dev"
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{GenerateName: service.Name + "-", Namespace: service.Namespace, Labels: labels},
		AddressType: discoveryv1.AddressType(env.Family),
		Ports:       []discoveryv1.EndpointPort{port},
	}
	ready := true
	for _, ip := range ips {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{ip.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
	}
	return requirement.Own(ctx, env, env.Kube.DiscoveryV1().EndpointSlices(service.Namespace), slice)
}

// slicePort is the port of an EndpointSlice for the Service's port of that name.
func slicePort(name string, protocol corev1.Protocol, port int) discoveryv1.EndpointPort {
	number := int32(port)
	return discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &number}
}

// onePort is the ports of a Service that has one, over TCP, called tcp.
func onePort(target int) []corev1.ServicePort {
	return []corev1.ServicePort{{Name: "tcp", Protocol: corev1.ProtocolTCP, Port: world.ServicePort, TargetPort: intstr.FromInt(target)}}
}

// settleWithin bounds the wait for the proxies to take up what a check's preparation changed; under a control too, since the
// control is not about that.
const settleWithin = 10 * time.Second

// untilWorks waits until the talk works: a preparation of what is judged, so that it is waited for under a control too. The talk
// has no source port of its own: a connection that was tried before the proxy knew the Service stays untranslated.
func untilWorks(ctx context.Context, env *requirement.Env, talk exchange.Talk) error {
	_, err := requirement.Settles(ctx, until.Policy{Within: settleWithin}, func(ctx context.Context) error {
		_, err := exchange.Again(ctx, env, talk)
		return err
	})
	return err
}
