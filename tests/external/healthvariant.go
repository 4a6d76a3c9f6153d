package external

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// endpointElsewhere is the variant in which a health check is right to answer 200 on every node.
const endpointElsewhere = "endpoint-elsewhere"

// hasOtherNodes says whether there is another node than the endpoint's, as the variant needs.
func hasOtherNodes(ctx context.Context, env *requirement.Env) error {
	nodes, err := machines(ctx, env)
	if err == nil && len(nodes) < 2 {
		err = errors.New("the cluster has one node, and no other has an endpoint")
	}
	return err
}

// healthyElsewhere makes a Service like that one which has an endpoint on each of the other nodes as well, by a hand-written EndpointSlice:
// each has an address that nobody has and nobody dials, since proxies keep one endpoint of an address. It waits until the health checks of all
// say 200.
func healthyElsewhere(ctx context.Context, env *requirement.Env, like requirement.ServiceSeen) (*corev1.Service, error) {
	meta := env.ObjectMeta("")
	spec := corev1.ServiceSpec{Type: like.Spec.Type, LoadBalancerClass: like.Spec.LoadBalancerClass, Selector: like.Spec.Selector,
		AllocateLoadBalancerNodePorts: like.Spec.AllocateLoadBalancerNodePorts, ExternalTrafficPolicy: like.Spec.ExternalTrafficPolicy,
		IPFamilyPolicy: like.Spec.IPFamilyPolicy}
	for _, p := range like.Spec.Ports {
		spec.Ports = append(spec.Ports, corev1.ServicePort{Name: p.Name, Protocol: p.Protocol, Port: p.Port, TargetPort: p.TargetPort})
	}
	service, err := makeService(ctx, env, &corev1.Service{ObjectMeta: meta, Spec: spec})
	if err != nil {
		return nil, fmt.Errorf("making a Service with a healthCheckNodePort: %w", err)
	}
	nodes, err := reached(ctx, env, "tcp", int(service.Spec.HealthCheckNodePort))
	if err != nil {
		return nil, err
	}
	_, others, err := split(env, nodes, env.Role(world.WebNear).Node)
	if err != nil {
		return nil, err
	}
	labels, ready, port := env.Labels(), true, int32(world.TargetPort)
	labels[discoveryv1.LabelServiceName], labels[discoveryv1.LabelManagedBy] = service.Name, "parley.dev"
	slice := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressType(env.Family),
		Ports: []discoveryv1.EndpointPort{{Name: &service.Spec.Ports[0].Name, Protocol: &service.Spec.Ports[0].Protocol, Port: &port}}}
	slice.Labels = labels
	prefix, err := netip.ParsePrefix(nobodysRange(env.Family))
	if err != nil {
		return nil, err
	}
	ip := prefix.Addr()
	for _, node := range others {
		ip = ip.Next()
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{ip.String()}, NodeName: &node.name,
			Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
	}
	if _, err := requirement.Own(ctx, env, env.Kube.DiscoveryV1().EndpointSlices(service.Namespace), slice); err != nil {
		return nil, fmt.Errorf("writing an EndpointSlice of %s: %w", service.Name, err)
	}
	return service, healthKnown(ctx, env, nodes, int(service.Spec.HealthCheckNodePort))
}

// healthKnown waits until the health checks of all nodes answer 200: a preparation, so that it is waited for under a control too.
func healthKnown(ctx context.Context, env *requirement.Env, nodes []machine, port int) error {
	_, err := until.Settled(ctx, until.Policy{Within: serviceInForce}, func(ctx context.Context) error {
		for _, node := range nodes {
			got, err := node.from.HTTP(ctx, wire.HTTP{URL: "http://" + requirement.At(node.ip, port) + "/healthz", Timeout: int(env.Attempt / time.Millisecond)})
			if err == nil && !got.Ok() {
				err = errors.New(got.String())
			}
			if err == nil && got.Status != http.StatusOK {
				err = fmt.Errorf("status %d", got.Status)
			}
			if err != nil {
				return fmt.Errorf("waiting for the health check of node %s with an endpoint of its own: %w", node.name, err)
			}
		}
		return nil
	})
	return err
}
