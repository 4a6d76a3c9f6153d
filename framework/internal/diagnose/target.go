package diagnose

import (
	"context"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// target is what the failing exchange dialled.
type target struct {
	at   netip.AddrPort
	kind string // ClusterIP, NodePort, externalIP, LoadBalancer address; "address" where it is no Service's
	// udp is the same address by UDP, "" where the Service has none there.
	udp       string
	endpoints []endpoint
}

// endpoint is where a Service sends what comes to the target.
type endpoint struct {
	at  netip.AddrPort
	end *requirement.End // its Agent is nil where none of the run's is in it
}

// mostEndpoints bounds how many of a Service's endpoints are asked.
const mostEndpoints = 6

// findTarget reads from the API which Service the target is an address of, and its ready endpoints. Its at is
// not valid where no address was dialled.
func (w *walk) findTarget(ctx context.Context) target {
	var t target
	if t.at, _ = netip.ParseAddrPort(w.failure.Target); !t.at.IsValid() {
		return t
	}
	t.kind = "address"
	services, err := w.env.Kube.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		w.note("the Services could not be listed: %v", err)
		return w.behind(t)
	}
	for i := range services.Items {
		s := &services.Items[i]
		kind, port := portAt(s, t.at, w.failure.Protocol)
		if port == nil {
			continue
		}
		t.kind = kind
		if _, udp := portAt(s, t.at, "udp"); udp != nil {
			t.udp = t.at.String()
		}
		if t.endpoints, err = w.endpointsOf(ctx, s, port); err != nil {
			w.note("the endpoints of %s/%s could not be read: %v", s.Namespace, s.Name, err)
			return w.behind(t)
		}
		return t
	}
	return w.behind(t)
}

// portAt is the Service's port at that address, and what kind of address it is; nil where it has none there.
func portAt(s *corev1.Service, at netip.AddrPort, protocol string) (kind string, port *corev1.ServicePort) {
	has := func(texts []string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { ip, err := netip.ParseAddr(text); return err == nil && ip == at.Addr() })
	}
	var balanced []string
	for _, i := range s.Status.LoadBalancer.Ingress {
		balanced = append(balanced, i.IP)
	}
	virtual := has(s.Spec.ClusterIPs)
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if !sameProtocol(p.Protocol, protocol) {
			continue
		}
		switch {
		case int(p.Port) == int(at.Port()) && virtual:
			return "ClusterIP", p
		case int(p.Port) == int(at.Port()) && has(s.Spec.ExternalIPs):
			return "externalIP", p
		case int(p.Port) == int(at.Port()) && has(balanced):
			return "LoadBalancer address", p
		case p.NodePort != 0 && int(p.NodePort) == int(at.Port()) && !virtual:
			return "NodePort", p
		}
	}
	return "", nil
}

func sameProtocol(of corev1.Protocol, protocol string) bool {
	return of == corev1.ProtocolUDP && protocol == "udp" || (of == corev1.ProtocolTCP || of == "") && protocol == "tcp"
}

func (w *walk) endpointsOf(ctx context.Context, s *corev1.Service, port *corev1.ServicePort) (all []endpoint, err error) {
	list, err := w.env.Kube.DiscoveryV1().EndpointSlices(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + s.Name})
	if err != nil {
		return nil, err
	}
	for _, slice := range list.Items {
		if string(slice.AddressType) != string(w.env.Family) {
			continue
		}
		number := 0
		for _, p := range slice.Ports {
			if p.Port != nil && (p.Name == nil || *p.Name == port.Name) && (p.Protocol == nil || *p.Protocol == port.Protocol) {
				number = int(*p.Port)
			}
		}
		for _, e := range slice.Endpoints {
			ip, err := netip.ParseAddr(e.Addresses[0])
			if err != nil || number == 0 || e.Conditions.Ready != nil && !*e.Conditions.Ready || len(all) == mostEndpoints {
				continue
			}
			all = append(all, endpoint{netip.AddrPortFrom(ip, uint16(number)), w.endAt(ip, e)})
		}
	}
	return all, nil
}

// serving are the roles of the world whose pods are endpoints of its Services.
var serving = []world.Role{world.WebNear, world.WebFar, world.Replica, world.SiblingA, world.Near, world.Far, world.MemberNear, world.MemberFar,
	world.Foreigner, world.Crowd, world.Everywhere}

// endAt is the end of the failure or of the world that has the address, else a stand-in without an agent: its node's steps can be
// counted, its own namespace's can't.
func (w *walk) endAt(ip netip.Addr, e discoveryv1.Endpoint) *requirement.End {
	ends := slices.Concat(w.failure.Behind, []*requirement.End{w.failure.To, w.failure.From})
	for _, role := range serving {
		ends = append(ends, w.env.Players.Ends(role)...)
	}
	for _, end := range ends {
		if end != nil && slices.Contains(end.IPs, ip) && !end.HostNetwork {
			return end
		}
	}
	stand := &requirement.End{Pod: "a pod", IPs: []netip.Addr{ip}}
	if e.TargetRef != nil {
		stand.Pod, stand.Namespace = e.TargetRef.Name, e.TargetRef.Namespace
	}
	if e.NodeName != nil {
		stand.Node = *e.NodeName
	}
	return stand
}

// behind has the endpoints that the failure names, where the API did not say.
func (w *walk) behind(t target) target {
	for _, end := range w.failure.Behind {
		if ip, ok := end.IP(w.env.Family); ok {
			t.endpoints = append(t.endpoints, endpoint{netip.AddrPortFrom(ip, world.TargetPort), end})
		}
	}
	if len(t.endpoints) > 0 && t.kind == "address" {
		t.kind = "ClusterIP"
	}
	return t
}
