package service

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

var virtualIPs = requirement.Clause{
	URL: "https://kubernetes.io/docs/reference/networking/virtual-ips/",
	Says: "Every node runs a proxy that captures traffic to a Service's cluster IP and port and redirects it to one of the Service's " +
		"endpoints; an endpoint may reach its own Service too.",
}

func clusterIP(protocol string) requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/clusterip-" + protocol,
		Title:  "A ClusterIP Service answers over " + strings.ToUpper(protocol) + " from a pod on every node.",
		Level:  requirement.Must,
		Clause: virtualIPs,
		Why: "Each node programs its own data path, so one node whose proxy has stopped is a partial outage that averages hide: " +
			"the check asks on every node and names the one that is silent.",
		Roles:     []world.Role{world.Everywhere, world.WebNear},
		Wants:     []world.Role{world.WebFar},
		Services:  []world.Service{world.Web},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			return calls{clients: env.Roles(world.Everywhere), service: world.Web, endpoints: env.Roles(world.WebNear, world.WebFar), protocols: []string{protocol}}.work(ctx, env)
		},
		Control: requirement.Control{
			Says: "what goes to the cluster IP dropped on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(fault.DropToService("prerouting", world.Web, protocol)),
				fault.InPodOf(world.Everywhere, fault.DropToService("output", world.Web, protocol)),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

// clusterIPSCTP makes its Service itself, once every kernel was seen to speak SCTP: a proxy on one that does not may fail
// to write its rules for all Services.
func clusterIPSCTP() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/clusterip-sctp",
		Title: "A ClusterIP Service answers over SCTP from a pod on every node.",
		Level: requirement.Optional,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/services-networking/service/#protocol-sctp",
			Says: "When the network plugin supports SCTP, it can be used for most Services.",
		},
		Why: "Telephone networks speak it. Tunnels carry it like anything else, but the proxy needs the kernel's modules for it on every node, " +
			"and eBPF data paths have to be told of it.",
		Roles:     []world.Role{world.Everywhere, world.WebNear},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			server := env.Role(world.WebNear)
			if err := exchange.Speaks(ctx, "sctp", append(env.Roles(world.Everywhere), server)...); err != nil {
				return err
			}
			port, err := listens(ctx, env, server, "sctp", 1)
			if err != nil {
				return err
			}
			service, err := ownService(ctx, env, server.Namespace, corev1.ServiceSpec{
				Selector: map[string]string{world.PodLabel: server.Pod}, IPFamilies: []corev1.IPFamily{env.Family},
				Ports: []corev1.ServicePort{{Name: "sctp", Protocol: corev1.ProtocolSCTP, Port: world.ServicePort,
					TargetPort: intstr.FromInt(port)}}})
			if err != nil {
				return err
			}
			ip, err := virtualIPOf(env, service)
			if err != nil {
				return err
			}
			for _, client := range env.Roles(world.Everywhere) {
				if _, err := fromPort(ctx, env, 0, exchange.Talk{From: client, To: server, Network: "sctp", Dial: requirement.At(ip, world.ServicePort)}); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "what goes to the cluster IP dropped on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(fault.DropFrom("prerouting", "sctp")),
				fault.InPodOf(world.Everywhere, fault.DropFrom("output", "sctp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func clusterIPFromNode() requirement.Requirement {
	return fromNode(requirement.Requirement{
		ID:    "service/clusterip-from-node",
		Title: "A ClusterIP Service answers over TCP and UDP from every node itself.",
		Why: "The API server reaches webhooks and extension API servers, and the kubelet its volume plugins, from a node's own network. " +
			"What a node sends never passes the hooks that its pods' traffic does, so the proxy has rules of their own for it.",
	}, world.Node, func(protocol string) requirement.Point {
		return fault.OnOneNode(fault.DropToService("output", world.Web, protocol))
	})
}

func clusterIPFromHostNetwork() requirement.Requirement {
	return fromNode(requirement.Requirement{
		ID:    "service/clusterip-from-host-network",
		Title: "A ClusterIP Service answers over TCP and UDP from a hostNetwork pod.",
		Why: "Ingress controllers and node agents run so and dial Services all day. Data paths that translate in the socket (eBPF on " +
			"cgroups) or at the pod's interface treat a hostNetwork pod as neither a pod nor a node.",
	}, world.HostNetwork, func(protocol string) requirement.Point {
		return fault.OnNodeOf(world.HostNetwork, fault.DropToService("output", world.Web, protocol))
	})
}

func fromNode(r requirement.Requirement, role world.Role, dropped func(protocol string) requirement.Point) requirement.Requirement {
	r.Level, r.Clause = requirement.Must, virtualIPs
	r.Needs = []requirement.Feature{requirement.NodeAgent}
	r.PodSecurity = "privileged"
	r.Roles = []world.Role{role, world.WebNear}
	r.Wants = []world.Role{world.WebFar}
	r.Services = []world.Service{world.Web}
	r.PerFamily, r.PerNode = true, role == world.HostNetwork
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		return calls{clients: env.Roles(role), service: world.Web, endpoints: env.Roles(world.WebNear, world.WebFar), protocols: bothProtocols,
			judge: func(client *requirement.End, protocol string, seen wire.Exchange) error {
				env.Note("%s %s: an endpoint saw the node %s as %s", env.Family, protocol, client.Node, exchange.Addr(seen.Witness.Remote))
				return nil
			}}.work(ctx, env)
	}
	r.Control = requirement.Control{
		Says:  "what goes to the cluster IP over TCP dropped as it leaves one node's own sockets",
		Fault: &requirement.Fault{Points: []requirement.Point{dropped("tcp")}},
		Red:   []requirement.Reason{requirement.NoAnswer},
	}
	r.MoreControls = []requirement.Control{{
		Says:  "what goes to the cluster IP over UDP dropped as it leaves one node's own sockets",
		Fault: &requirement.Fault{Points: []requirement.Point{dropped("udp")}},
		Red:   []requirement.Reason{requirement.NoAnswer, requirement.Denied}, // a UDP sender is told of what is dropped there
	}}
	return r
}

func crossNamespace() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/cross-namespace",
		Title: "A pod reaches a ClusterIP Service of another namespace over TCP and UDP, each direction.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/network-policies/#default-policies",
			Says: "Where no policy exists in a namespace, all traffic to and from its pods is allowed: a namespace is a scope of names, " +
				"no network of its own.",
		},
		Why: "Shared databases, message brokers and the cluster's own DNS live in other namespaces. Isolation by default, which some " +
			"plugins and meshes offer, breaks software that rests on the documented default.",
		PerNode:   true,
		Roles:     []world.Role{world.Near, world.Foreigner, world.WebNear},
		Wants:     []world.Role{world.WebFar},
		Services:  []world.Service{world.Web, world.Foreign},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			abroad := calls{clients: env.Roles(world.Foreigner), service: world.Web, endpoints: env.Roles(world.WebNear, world.WebFar), protocols: bothProtocols}
			if err := abroad.work(ctx, env); err != nil {
				return err
			}
			return calls{clients: env.Roles(world.Near), service: world.Foreign, endpoints: env.Roles(world.Foreigner), protocols: bothProtocols}.work(ctx, env)
		},
		Control: requirement.Control{
			Says: "what the pod of the other namespace is asked dropped before it",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Foreigner, fault.DropFrom("input", "tcp")),
				fault.OnNodeOf(world.Foreigner, fault.DropFrom("forward", "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{
			{Says: "what the pod of the other namespace is asked over UDP dropped before it", Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Foreigner, fault.DropFrom("input", "udp")),
				fault.OnNodeOf(world.Foreigner, fault.DropFrom("forward", "udp"))}},
				Red: []requirement.Reason{requirement.NoAnswer}},
			{Says: "what the pod of the other namespace asks dropped as it leaves it",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Foreigner, fault.DropFrom("output", "tcp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}},
		},
	}
}
