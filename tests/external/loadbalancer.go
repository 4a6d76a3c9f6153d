package external

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	withoutRanges = "without-source-ranges"
	neverAdmitted = "never-admitted"
	withNodePorts = "with-node-ports"
	policyCluster = "policy-cluster"
	// addressGiven bounds the wait for a new Service's address: clouds take half a minute, announcers milliseconds. Where
	// it passes, the cluster has no implementation, or only one of another class.
	addressGiven = 45 * time.Second
	addressLook  = 200 * time.Millisecond
	// serviceInForce bounds the time until the proxies know a new Service.
	serviceInForce = 10 * time.Second
)

var errNoAddress = errors.New("no address")

var typeLoadBalancer = requirement.Clause{
	URL: "https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer",
	Says: "Where there is an implementation, a Service of type LoadBalancer gets an address in its status, and traffic to it is directed at the " +
		"Service's endpoints.",
}

func loadBalancers() []requirement.Requirement {
	base := requirement.Requirement{
		Long:      true,
		Level:     requirement.Optional,
		Needs:     []requirement.Feature{requirement.OutsideHost, requirement.LoadBalanced},
		Roles:     []world.Role{world.Outside, world.WebNear},
		Wants:     []world.Role{world.ReferenceLoadBalancer, world.Node},
		PerFamily: true,
	}
	with := func(change func(*requirement.Requirement)) requirement.Requirement {
		r := base
		change(&r)
		return r
	}
	return []requirement.Requirement{
		with(loadBalancer), with(loadBalancerProtocols), with(loadBalancerFromPod), with(loadBalancerSourceRanges),
		with(loadBalancerNoNodePorts), with(loadBalancerLocal),
	}
}

// balanced is a Service of type LoadBalancer whose endpoint is a server of the requirement's own in WebNear, at its first
// port: controls then reach nobody else's traffic.
type balanced struct {
	service *corev1.Service
	server  *requirement.End
	at      netip.Addr // its address of the family in force
	plain   bool       // it asks for nothing that an implementation may lack
}

// balanceForOutside is balance for a check of what the host outside sees.
func balanceForOutside(ctx context.Context, env *requirement.Env, alter func(*corev1.ServiceSpec), protocols ...corev1.Protocol) (*balanced, error) {
	b, err := balance(ctx, env, alter, protocols...)
	if err != nil {
		return nil, err
	}
	return b, reachedAt(ctx, env, b.at, world.ServicePort)
}

// balance makes such a Service and waits for its address. An implementation that is the reference must give one; where
// the cluster's own gives none, the row is unsupported, and so are the others as soon as one that asks for nothing special has
// waited long enough.
func balance(ctx context.Context, env *requirement.Env, alter func(*corev1.ServiceSpec), protocols ...corev1.Protocol) (*balanced, error) {
	b := &balanced{server: env.Role(world.WebNear), plain: alter == nil && len(protocols) == 1}
	var ports []corev1.ServicePort
	for _, p := range protocols {
		network := strings.ToLower(string(p))
		opened, err := b.server.Listen(ctx, wire.Listen{Network: network, Address: requirement.At(env.Any(), env.Port(0))})
		if err != nil {
			return nil, fmt.Errorf("opening a server in %s: %w", b.server, err)
		}
		if !opened.Ok() {
			return nil, fmt.Errorf("%s cannot open a server: %s", b.server, opened.Errno)
		}
		env.Defer(func(ctx context.Context) error { exchange.Release(ctx, b.server, opened.Handle); return nil })
		ports = append(ports, corev1.ServicePort{Name: network, Protocol: p, Port: world.ServicePort, TargetPort: intstr.FromInt(env.Port(0))})
	}
	service := env.World.NewService(env.Requirement.ObjectName(), "nodeport", ports...)
	service.Spec.Type = corev1.ServiceTypeLoadBalancer
	if referencePlays(env, world.ReferenceLoadBalancer) {
		class := env.World.LoadBalancerClass()
		service.Spec.LoadBalancerClass = &class
	}
	if alter != nil {
		alter(&service.Spec)
	}
	made, err := makeService(ctx, env, service)
	if err != nil {
		return nil, fmt.Errorf("making a Service of type LoadBalancer: %w", err)
	}
	return b, b.awaitAddress(ctx, env, made)
}

// referencePlays says whether the reference implementation plays the role.
func referencePlays(env *requirement.Env, role world.Role) bool { return len(env.Roles(role)) > 0 }

// from is a conversation with the Service at its address.
func (b *balanced) from(client *requirement.End, network string) exchange.Talk {
	return exchange.Talk{From: client, To: b.server, Network: network, Dial: requirement.At(b.at, world.ServicePort)}
}

// midway waits until the Service answers each client, and has a fault that waits for the check's middle injected then: it
// finds the address as an end.
func (b *balanced) midway(ctx context.Context, env *requirement.Env, network string, clients ...*requirement.End) error {
	for _, client := range clients {
		if err := inForce(ctx, env, b.from(client, network)); err != nil {
			return err
		}
	}
	return env.Midway(ctx, &requirement.End{Role: "load balancer's address", IPs: []netip.Addr{b.at}})
}

// dropAddress drops what comes for the load balancer's address at the endpoint's node, which announces it where the
// reference implementation does, or else to the endpoint within its pod.
func dropAddress(protocols ...string) *requirement.Fault {
	var inPod []fault.Rules
	for _, p := range protocols {
		inPod = append(inPod, fault.DropOwnPorts("input", p))
	}
	return &requirement.Fault{Points: []requirement.Point{
		fault.Midway(fault.OnNodeOf(world.WebNear, func(_ context.Context, env *requirement.Env) (rules []wire.Rule, err error) {
			for _, end := range env.MidwayEnds() {
				ip, err := env.IP(end)
				if err != nil {
					return nil, err
				}
				for _, p := range protocols {
					rules = append(rules, wire.Rule{Hook: "prerouting", Priority: fault.BeforeAll, Proto: p, To: ip.String(), Do: "drop"})
				}
			}
			return rules, nil
		})),
		fault.Midway(fault.InPodOf(world.WebNear, fault.All(inPod...))),
	}}
}

func loadBalancer(r *requirement.Requirement) {
	r.ID = "external/load-balancer"
	r.Title = "A Service of type LoadBalancer gets an address in its status, and answers a host outside the cluster there over TCP."
	r.Clause = typeLoadBalancer
	r.Why = "It is how most Services are published. Between the address and the pod lie an announcement (ARP, BGP or a cloud's own balancer), " +
		"a node that takes the packet, and its service proxy: each is somebody else's software."
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		b, err := balanceForOutside(ctx, env, nil, corev1.ProtocolTCP)
		if err != nil {
			return err
		}
		if err := b.midway(ctx, env, "tcp", env.Role(world.Outside)); err != nil {
			return err
		}
		seen, err := exchange.Works(ctx, env, b.from(env.Role(world.Outside), "tcp"))
		if err == nil {
			env.Note("%s: %s; the endpoint saw the client %s as %s", env.Family, b.at, exchange.Addr(seen.Local), exchange.Addr(seen.Witness.Remote))
		}
		return err
	}
	r.Control = requirement.Control{Says: "what comes for the address dropped", Fault: dropAddress("tcp"), Red: []requirement.Reason{requirement.NoAnswer}}
}

func loadBalancerProtocols(r *requirement.Requirement) {
	r.ID = "external/load-balancer-mixed-protocols"
	r.Title = "A Service of type LoadBalancer answers over TCP and UDP on one port of one address."
	r.Clause = requirement.Clause{
		URL: "https://kubernetes.io/docs/concepts/services-networking/service/#load-balancers-with-mixed-protocol-types",
		Says: "A Service of type LoadBalancer may have ports of several protocols; which sets work is up to the implementation, whose status " +
			"tells errors by port.",
	}
	r.Why = "DNS, SIP and HTTP/3 need both protocols on one address. Implementations that make a balancer per protocol give two addresses or none."
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		b, err := balanceForOutside(ctx, env, nil, corev1.ProtocolTCP, corev1.ProtocolUDP)
		if err != nil {
			return err
		}
		for _, i := range b.service.Status.LoadBalancer.Ingress {
			for _, p := range i.Ports {
				if p.Error != nil {
					return &requirement.Unsupported{Probed: fmt.Sprintf("the implementation says of port %d/%s: %s", p.Port, p.Protocol, *p.Error)}
				}
			}
		}
		if err := b.midway(ctx, env, "udp", env.Role(world.Outside)); err != nil {
			return err
		}
		for _, protocol := range []string{"tcp", "udp"} {
			if _, err := exchange.Works(ctx, env, b.from(env.Role(world.Outside), protocol)); err != nil {
				return err
			}
		}
		return nil
	}
	r.Control = requirement.Control{Says: "what comes for the address over UDP dropped", Fault: dropAddress("udp"), Red: []requirement.Reason{requirement.NoAnswer}}
	r.MoreControls = []requirement.Control{
		{Says: "what comes for the address over TCP dropped", Fault: dropAddress("tcp"), Red: []requirement.Reason{requirement.NoAnswer}}}
}

func loadBalancerFromPod(r *requirement.Requirement) {
	r.ID = "external/load-balancer-from-pod"
	r.Title = "A pod on every node reaches a Service of type LoadBalancer by the address in its status."
	r.Clause = requirement.Clause{
		URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/loadbalancer.go#L1221",
		Says: "The upstream suite demands that pods reach a load balancer's address (\"should work from pods\"); with ipMode VIP the proxy of the " +
			"pod's node takes the traffic itself.",
	}
	r.Why = "Programs inside are told public names. Their packets usually never leave the node, by rules that the outside does not use; with " +
		"balancers that proxy (ipMode Proxy) they go out and come in again, which many networks forbid."
	r.Roles = append(r.Roles[:len(r.Roles):len(r.Roles)], world.Everywhere)
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		b, err := balance(ctx, env, nil, corev1.ProtocolTCP)
		if err != nil {
			return err
		}
		if err := b.midway(ctx, env, "tcp", env.Roles(world.Everywhere)...); err != nil {
			return err
		}
		for _, client := range env.Roles(world.Everywhere) {
			if _, err := exchange.Works(ctx, env, b.from(client, "tcp")); err != nil {
				return err
			}
		}
		return nil
	}
	r.Control = requirement.Control{
		Says:  "what comes to the endpoint dropped in its pod",
		Fault: &requirement.Fault{Points: []requirement.Point{fault.Midway(fault.InPodOf(world.WebNear, fault.DropOwnPorts("input", "tcp")))}},
		Red:   []requirement.Reason{requirement.NoAnswer},
	}
}
