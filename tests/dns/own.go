package dns

import (
	"context"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// newService makes a Service of the check's own in the main namespace, to be removed after it.
func newService(ctx context.Context, env *requirement.Env, spec corev1.ServiceSpec) (*corev1.Service, error) {
	return makeService(ctx, env, &corev1.Service{ObjectMeta: env.ObjectMeta(""), Spec: spec})
}

func makeService(ctx context.Context, env *requirement.Env, service *corev1.Service) (*corev1.Service, error) {
	service.Labels = env.Labels()
	return requirement.Own(ctx, env, env.Kube.CoreV1().Services(env.Namespace()), service)
}

// headlessSpec is a headless Service's whose endpoints are made by hand.
func headlessSpec() corev1.ServiceSpec {
	return corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Name: "tcp", Port: world.ServicePort}}}
}

// newSlice makes an EndpointSlice by hand; it goes with its Service.
func newSlice(ctx context.Context, env *requirement.Env, service *corev1.Service, endpoints ...discoveryv1.Endpoint) (*discoveryv1.EndpointSlice, error) {
	labels := env.Labels()
	labels[discoveryv1.LabelServiceName], labels[discoveryv1.LabelManagedBy] = service.Name, "parley.dev"
	name, protocol, port := "tcp", corev1.ProtocolTCP, int32(world.ServicePort)
	made, _, err := requirement.Create(ctx, env.Kube.DiscoveryV1().EndpointSlices(service.Namespace), &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{GenerateName: service.Name + "-", Namespace: service.Namespace, Labels: labels, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "Service", Name: service.Name, UID: service.UID}}},
		AddressType: discoveryv1.AddressType(env.Family), Endpoints: endpoints,
		Ports: []discoveryv1.EndpointPort{{Name: &name, Protocol: &protocol, Port: &port}},
	})
	return made, err
}

// endpoint is one that nobody dials.
func endpoint(ip netip.Addr, ready bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{ip.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
}

// nobody is the i-th address of a range for documentation (RFC 5737, RFC 3849), of the family in force.
func nobody(env *requirement.Env, i int) netip.Addr {
	if env.Family == corev1.IPv6Protocol {
		a := netip.MustParseAddr("2001:db8::").As16()
		a[14], a[15] = byte(i>>8), byte(i)
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
}

func dashed(ip netip.Addr) string { return strings.ReplaceAll(ip.String(), ".", "-") }
