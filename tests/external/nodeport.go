package external

import (
	"context"
	"fmt"
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

var typeNodePort = requirement.Clause{
	URL:  "https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport",
	Says: "Every node in the cluster listens on the node port and forwards to one of the Service's ready endpoints.",
}

func nodePorts() []requirement.Requirement {
	return []requirement.Requirement{fromOutside("tcp"), fromOutside("udp"), nodePortSCTP(), fromPods(), fromNodes()}
}

func fromOutside(protocol string) requirement.Requirement {
	return requirement.Requirement{
		ID: "external/nodeport-" + protocol,
		Title: "A NodePort of protocol " + strings.ToUpper(protocol) + " answers a host outside the cluster on every node's address, " +
			"whether the Service has an endpoint on that node or not.",
		Level:  requirement.Must,
		Clause: typeNodePort,
		Why: "Load balancers in front of a cluster send to any node. One node that is silent loses its share of the requests, " +
			"and only for clients outside.",
		Needs:     []requirement.Feature{requirement.OutsideHost},
		Roles:     []world.Role{world.Outside, world.WebNear},
		Wants:     []world.Role{world.Node},
		Services:  []world.Service{world.NodePort},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			nodes, err := reached(ctx, env, protocol, nodePort(env, world.NodePort, protocol))
			if err != nil {
				return err
			}
			return nodesAnswer(ctx, env, nodes, world.NodePort, protocol)
		},
		Control: requirement.Control{
			Says:  "the node port dropped on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.OnOneNode(dropNodePort(world.NodePort, []string{"prerouting"}, protocol))}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		},
	}
}

// dropNodePort drops what goes to the Service's node port.
func dropNodePort(service world.Service, hooks []string, protocols ...string) fault.Rules {
	return func(_ context.Context, env *requirement.Env) (rules []wire.Rule, err error) {
		for _, hook := range hooks {
			for _, p := range protocols {
				rule := wire.Rule{Hook: hook, Priority: fault.BeforeAll, Proto: p, ToPort: nodePort(env, service, p), Do: "drop", Family: "ip"}
				if env.Family == corev1.IPv6Protocol {
					rule.Family = "ip6"
				}
				rules = append(rules, rule)
			}
		}
		return rules, nil
	}
}

// everyNodeAnswers has each client dial the Service's node port on every node's address.
func everyNodeAnswers(ctx context.Context, env *requirement.Env, clients []*requirement.End, service world.Service, protocol string) error {
	nodes, err := machines(ctx, env)
	if err != nil {
		return err
	}
	for _, client := range clients {
		for _, node := range nodes {
			if _, err := throughNode(ctx, env, client, node, service, protocol); err != nil {
				return err
			}
		}
	}
	return nil
}

// nodesAnswer has each node's client dial the Service's node port on the node's address.
func nodesAnswer(ctx context.Context, env *requirement.Env, nodes []machine, service world.Service, protocol string) error {
	seenAs := map[string][]string{}
	for _, node := range nodes {
		seen, err := throughNode(ctx, env, node.from, node, service, protocol)
		if err != nil {
			return err
		}
		as := "under its own address"
		if from := exchange.Addr(seen.Witness.Remote); from != exchange.Addr(seen.Local) {
			as = "as " + from.String()
		}
		seenAs[as] = append(seenAs[as], node.name)
	}
	for as, names := range seenAs {
		env.Note("%s %s: through %s the endpoint saw the client %s", env.Family, protocol, strings.Join(names, ", "), as)
	}
	return nil
}

func throughNode(ctx context.Context, env *requirement.Env, client *requirement.End, node machine, service world.Service, protocol string) (wire.Exchange, error) {
	seen, err := exchange.Works(ctx, env, exchange.Talk{From: client, To: env.Role(world.WebNear), Network: protocol,
		Dial: requirement.At(node.ip, nodePort(env, service, protocol))})
	return seen, through(err, node.name)
}

func nodePortSCTP() requirement.Requirement {
	return requirement.Requirement{
		ID:    "external/nodeport-sctp",
		Title: "A NodePort of protocol SCTP answers a host outside the cluster on every node's address.",
		Level: requirement.Optional,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/reference/networking/service-protocols/#protocol-sctp",
			Says: "Where the network plugin supports SCTP traffic, most Services may use it, of type NodePort too; multihomed associations are not supported.",
		},
		Why:       "Telephone networks send their signalling so. NAT of SCTP is a kernel module of its own, which nodes often lack.",
		Needs:     []requirement.Feature{requirement.OutsideHost},
		Roles:     []world.Role{world.Outside, world.WebNear},
		Wants:     []world.Role{world.Node},
		PerFamily: true,
		Check:     checkNodePortSCTP,
		Control: requirement.Control{
			Says: "SCTP to the endpoint's port dropped in its pod",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.WebNear, fault.DropOwnPorts("input", "sctp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func checkNodePortSCTP(ctx context.Context, env *requirement.Env) error {
	server := env.Role(world.WebNear)
	if err := exchange.Speaks(ctx, "sctp", env.Role(world.Outside), server); err != nil {
		return err
	}
	opened, err := server.Listen(ctx, wire.Listen{Network: "sctp", Address: requirement.At(env.Any(), env.Port(0))})
	if err != nil {
		return fmt.Errorf("opening an SCTP server in %s: %w", server, err)
	}
	if !opened.Ok() {
		return fmt.Errorf("%s cannot open an SCTP server: %s", server, opened.Errno)
	}
	defer exchange.Release(ctx, server, opened.Handle)
	nodes, err := reached(ctx, env, "sctp", 0)
	if err != nil {
		return err
	}
	service := env.World.NewService("nodeport-sctp", "nodeport", corev1.ServicePort{Name: "sctp", Protocol: corev1.ProtocolSCTP,
		Port: world.ServicePort, TargetPort: intstr.FromInt(env.Port(0))})
	service.Spec.Type = corev1.ServiceTypeNodePort
	made, err := makeService(ctx, env, service)
	if err != nil {
		return fmt.Errorf("making a Service of protocol SCTP: %w", err)
	}
	for _, node := range nodes {
		if _, err := exchange.Works(ctx, env, exchange.Talk{From: node.from, To: server, Network: "sctp",
			Dial: requirement.At(node.ip, int(made.Spec.Ports[0].NodePort))}); err != nil {
			return through(err, node.name)
		}
	}
	return nil
}

func fromPods() requirement.Requirement {
	return requirement.Requirement{
		ID:    "external/nodeport-from-pod",
		Title: "A NodePort answers a pod of every node on every node's address, over TCP and UDP.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/service.go#L1287",
			Says: "Conformance: a client pod reaches a NodePort Service by its name and cluster IP on the service port, and on the nodes' IPs on the node port.",
		},
		Why: "Programs that are told a public address from inside use the same path. A pod that dials its own node enters the proxy's rules " +
			"by another hook than what comes in from the wire, and the way back needs a translation that some data paths lack.",
		Roles:     []world.Role{world.Everywhere, world.WebNear},
		Services:  []world.Service{world.NodePortFromPod},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, protocol := range []string{"tcp", "udp"} {
				if err := everyNodeAnswers(ctx, env, env.Roles(world.Everywhere), world.NodePortFromPod, protocol); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "the node port dropped on one node, over TCP",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(dropNodePort(world.NodePortFromPod, []string{"prerouting"}, "tcp")),
				fault.InPodOf(world.Everywhere, dropNodePort(world.NodePortFromPod, []string{"output"}, "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says: "the node port dropped on one node, over UDP",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(dropNodePort(world.NodePortFromPod, []string{"prerouting"}, "udp")),
				fault.InPodOf(world.Everywhere, dropNodePort(world.NodePortFromPod, []string{"output"}, "udp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer, requirement.Denied}, // a UDP sender is told of what is dropped on its output
		}},
	}
}

func fromNodes() requirement.Requirement {
	return requirement.Requirement{
		ID:    "external/nodeport-from-node",
		Title: "A NodePort answers every node on every node's address, its own and others', over TCP and UDP.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport",
			Says: "With the node port open on each node, a Service is reached at the IP of any node and that port, " +
				"from the node itself as well.",
		},
		Why: "The kubelet, hostNetwork pods and people on a node dial it so. These packets leave by the output hook, which rules for " +
			"what comes in never see. Whether 127.0.0.1 answers too depends on the proxy's mode and is reported only.",
		Needs:       []requirement.Feature{requirement.NodeAgent},
		PodSecurity: "privileged",
		Roles:       []world.Role{world.Node, world.WebNear},
		Services:    []world.Service{world.NodePortFromNode},
		PerFamily:   true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, protocol := range []string{"tcp", "udp"} {
				if err := everyNodeAnswers(ctx, env, env.Roles(world.Node), world.NodePortFromNode, protocol); err != nil {
					return err
				}
			}
			return noteLoopback(ctx, env)
		},
		Control: requirement.Control{
			Says: "the node port dropped on one node, over TCP",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(dropNodePort(world.NodePortFromNode, []string{"prerouting"}, "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{
			{Says: "the node port dropped on one node, over UDP",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.OnOneNode(dropNodePort(world.NodePortFromNode, []string{"prerouting"}, "udp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}},
			{Says: "the node port dropped as it leaves one node's own sockets",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.OnOneNode(dropNodePort(world.NodePortFromNode, []string{"output"}, "tcp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}},
		},
	}
}

// loopbackWithin bounds one attempt whose result is only reported.
const loopbackWithin = 500 * time.Millisecond

// noteLoopback reports how the node's own loopback answers: it is no promise, and differs between the proxy's modes.
func noteLoopback(ctx context.Context, env *requirement.Env) error {
	client := env.Role(world.Node)
	dial := requirement.At(env.Loopback(), nodePort(env, world.NodePortFromNode, "tcp"))
	seen, err := exchange.Once(ctx, env, exchange.Talk{From: client, Network: "tcp", Dial: dial, Within: loopbackWithin})
	if err == nil {
		env.Note("%s: the node %s itself at %s: %s", env.Family, client.Node, dial, seen.Errno)
	}
	return err
}
