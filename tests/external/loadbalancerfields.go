package external

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// nobodysRange are addresses that no client has (RFC 5737, RFC 3849).
func nobodysRange(family corev1.IPFamily) string {
	if family == corev1.IPv6Protocol {
		return "2001:db8::/32"
	}
	return "192.0.2.0/24"
}

func loadBalancerSourceRanges(r *requirement.Requirement) {
	r.ID = "external/load-balancer-source-ranges"
	r.Title = "loadBalancerSourceRanges admits a client outside the cluster whose address is within, and refuses the same client when it is not."
	r.Clause = requirement.Clause{
		URL: "https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/#ServiceSpec",
		Says: "loadBalancerSourceRanges restricts traffic through the load balancer to the client IPs of these ranges, where the platform " +
			"supports it; it ignores the field otherwise.",
	}
	r.Why = "People take it for a firewall. An implementation that ignores it leaves the Service open to everyone and says nothing, and one " +
		"that hides the client's address before the rule refuses everyone. Once it is in force, five attempts in a row are not answered, each " +
		"beside one to a node port that is."
	r.Services = []world.Service{world.NodePort}
	r.Check = checkSourceRanges
	r.Control = requirement.Control{
		Says:    "no source ranges in place of those that do not have the client",
		Variant: &requirement.Variant{Fixture: withoutRanges},
		Red:     []requirement.Reason{requirement.Answered},
	}
	r.MoreControls = []requirement.Control{{
		Says:    "ranges that do not have the client in place of those that do",
		Variant: &requirement.Variant{Fixture: neverAdmitted},
		Red:     []requirement.Reason{requirement.NoAnswer, requirement.Refused, requirement.Unreachable},
	}}
}

func checkSourceRanges(ctx context.Context, env *requirement.Env) error {
	client := env.Role(world.Outside)
	own, err := outsideIP(ctx, env)
	if err != nil {
		return err
	}
	nodes, why, err := fromOutsideAlone(ctx, env, "tcp", nodePort(env, world.NodePort, "tcp"))
	if err != nil {
		return err
	}
	if why != "" {
		return &requirement.Unsupported{Probed: why}
	}
	own = asSeenBy(ctx, env, client, nodes[0], own)
	b, err := balanceForOutside(ctx, env, func(spec *corev1.ServiceSpec) {
		spec.LoadBalancerSourceRanges = []string{netip.PrefixFrom(own, own.BitLen()).String()}
		if env.Fixture(neverAdmitted) {
			spec.LoadBalancerSourceRanges = []string{nobodysRange(env.Family)}
		}
	}, corev1.ProtocolTCP)
	if err != nil {
		return err
	}
	// Under the control, too, the Service must first have come into force.
	patient := b.from(client, "tcp")
	if err := inForce(ctx, env, patient); err != nil {
		return err
	}
	ranges := []string{nobodysRange(env.Family)}
	if env.Fixture(withoutRanges) {
		ranges = nil
	}
	services := env.Kube.CoreV1().Services(b.service.Namespace)
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		now, err := services.Get(ctx, b.service.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		now.Spec.LoadBalancerSourceRanges = ranges
		_, err = services.Update(ctx, now, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("changing the source ranges of %s: %w", b.service.Name, err)
	}
	// The ranges are in force a moment later. The node port of the same Service, which they do not guard, shows that the client is heard.
	patient.Converging = true
	heard, err := b.byNodePort(env, client, nodes)
	if err != nil {
		return err
	}
	_, err = exchange.Silent(ctx, env, patient, heard, fmt.Sprintf("which admits %v only", ranges))
	return err
}

// byNodePort is a conversation with the Service's endpoint through its node's node port, or that of the shared NodePort where the Service was
// given none.
func (b *balanced) byNodePort(env *requirement.Env, client *requirement.End, nodes []machine) (exchange.Talk, error) {
	here, _, err := split(env, nodes, b.server.Node)
	if err != nil {
		return exchange.Talk{}, err
	}
	port := int(b.service.Spec.Ports[0].NodePort)
	if port == 0 {
		port = nodePort(env, world.NodePort, "tcp")
	}
	return exchange.Talk{From: client, To: b.server, Network: "tcp", Dial: requirement.At(here.ip, port)}, nil
}

// inForce waits until a new Service answers, with a patience that a control does not shorten: what it changes comes later.
func inForce(ctx context.Context, env *requirement.Env, talk exchange.Talk) error {
	patience := env.Patience
	env.Patience = max(patience, serviceInForce)
	defer func() { env.Patience = patience }()
	talk.Converging = true
	_, err := exchange.Works(ctx, env, talk)
	return err
}

func loadBalancerNoNodePorts(r *requirement.Requirement) {
	r.ID = "external/load-balancer-no-node-ports"
	r.Title = "With allocateLoadBalancerNodePorts false, a Service of type LoadBalancer gets no node port and answers at its address all the same."
	r.Clause = requirement.Clause{
		URL: "https://kubernetes.io/docs/concepts/services-networking/service/#load-balancer-nodeport-allocation",
		Says: "Node port allocation may be switched off for Services of type LoadBalancer whose implementation routes traffic to pods directly " +
			"or by the address itself.",
	}
	r.Why = "Node ports are few, and each is a way past the load balancer and its source ranges. Implementations that need them break in silence."
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		b, err := balanceForOutside(ctx, env, func(spec *corev1.ServiceSpec) {
			allocate := env.Fixture(withNodePorts)
			spec.AllocateLoadBalancerNodePorts = &allocate
		}, corev1.ProtocolTCP)
		if err != nil {
			return err
		}
		for _, p := range b.service.Spec.Ports {
			if p.NodePort != 0 {
				return &requirement.Failure{Reason: requirement.WrongSetting, Target: "Service " + b.service.Name, Protocol: "API",
					Expected: "no node port where allocateLoadBalancerNodePorts is false", Observed: fmt.Sprintf("node port %d", p.NodePort)}
			}
		}
		talk := b.from(env.Role(world.Outside), "tcp")
		talk.Converging = true
		_, err = exchange.Works(ctx, env, talk)
		return err
	}
	r.Control = requirement.Control{
		Says:    "the same Service with allocateLoadBalancerNodePorts true",
		Variant: &requirement.Variant{Fixture: withNodePorts},
		Red:     []requirement.Reason{requirement.WrongSetting},
	}
}

func loadBalancerLocal(r *requirement.Requirement) {
	r.ID = "external/load-balancer-client-ip"
	r.Title = "Through a load balancer with externalTrafficPolicy Local the endpoint sees the own address of a client outside the cluster."
	r.Clause = requirement.Clause{
		URL: "https://kubernetes.io/docs/tasks/access-application-cluster/create-external-load-balancer/#preserving-the-client-source-ip",
		Says: "externalTrafficPolicy Local preserves the client's source IP for Services of type LoadBalancer, with implementations that pass " +
			"packets on rather than proxy connections.",
	}
	r.Why = "What holds at a node's port is lost again where the balancer itself is a proxy. Applications then log the balancer and must be " +
		"told the client by another way, such as the PROXY protocol."
	r.Check = checkLoadBalancerLocal
	r.Control = requirement.Control{
		Says:    "the same Service with externalTrafficPolicy Cluster",
		Variant: &requirement.Variant{Fixture: policyCluster},
		Red:     []requirement.Reason{requirement.Translated},
	}
}

func checkLoadBalancerLocal(ctx context.Context, env *requirement.Env) error {
	client := env.Role(world.Outside)
	b, err := balanceForOutside(ctx, env, func(spec *corev1.ServiceSpec) {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		if env.Fixture(policyCluster) {
			spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
		}
	}, corev1.ProtocolTCP)
	if err != nil {
		return err
	}
	talk := b.from(client, "tcp")
	if err := inForce(ctx, env, talk); err != nil {
		return err
	}
	nodes, err := machines(ctx, env)
	if err != nil {
		return err
	}
	return env.Until(ctx, func(ctx context.Context) error {
		seen, err := exchange.Again(ctx, env, talk)
		if err != nil {
			return err
		}
		expected := asSeenBy(ctx, env, client, nodes[0], exchange.Addr(seen.Local))
		if from := exchange.Addr(seen.Witness.Remote); from != expected {
			return &requirement.Failure{Reason: requirement.Translated, From: client, To: b.server, Target: talk.Dial, Protocol: "tcp",
				Expected: fmt.Sprintf("the endpoint to see the client's address %s", expected), Observed: "the client as " + from.String()}
		}
		return nil
	})
}
