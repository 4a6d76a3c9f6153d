package pod

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Variants of the pods with a hostPort.
const (
	noHostPort  = "no-host-port"
	anyHostIP   = "any-host-ip"
	otherPorts  = "other-ports"
	hostPortPod = "web"
)

var hostPortField = requirement.Clause{
	URL:  "https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#ports",
	Says: "hostPort is the number of the port to expose on the host, hostIP the host's IP to bind it to.",
}

var hostPortsCoexist = requirement.Clause{
	URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/hostport.go#L63",
	Says: "Conformance: pods with one hostPort and different hostIPs or protocols run on one node, and each is reached at its own " +
		"combination, on 127.0.0.1 and on the node's IP.",
}

func hostPorts() (all []requirement.Requirement) {
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
		all = append(all, hostPort(protocol))
	}
	return append(all, hostPortIP(), hostPortCoexist(), hostPortConflict())
}

func hostPort(protocol corev1.Protocol) requirement.Requirement {
	network := strings.ToLower(string(protocol))
	return requirement.Requirement{
		ID:     "pod/host-port-" + network,
		Long:   true,
		Title:  "A pod's hostPort of protocol " + string(protocol) + " on its node's InternalIP reaches the pod, from pods, nodes and the outside.",
		Level:  requirement.Must,
		Clause: hostPortField,
		Why: "Ingress controllers and node agents are published so. It takes a plugin (portmap) or a proxy that implements it: without, " +
			"the pod is scheduled and runs, and nobody reaches the port.",
		PodSecurity: "privileged",
		PerNode:     true,
		Roles:       []world.Role{world.SiblingA},
		Wants:       []world.Role{world.Far, world.Node, world.Outside},
		PerFamily:   true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			local := env.Role(world.SiblingA)
			at, err := nodeIP(ctx, env, local.Node)
			if err != nil {
				return err
			}
			server, err := startHostPort(ctx, env, local.Node, corev1.ContainerPort{Protocol: protocol, HostPort: int32(env.Port(0))})
			if err != nil {
				return err
			}
			talk := exchange.Talk{To: server, Network: network, Dial: requirement.At(at, env.Port(0))}
			judged := 0
			for _, talk.From = range hostPortClients(env) {
				if _, err := exchange.Works(ctx, env, talk); err != nil {
					return err
				}
				judged++
			}
			talk.From = local
			if judged == 0 {
				_, err := exchange.Works(ctx, env, talk)
				return err
			}
			// The way back to a pod of the same node needs a second translation, which nothing promises.
			if seen, err := exchange.Again(ctx, env, talk); err != nil {
				env.Note("%s: from a pod on the same node it is not reached: %s", env.Family, seen.Errno)
			}
			return nil
		},
		Control: requirement.Control{
			Says:    "the same pod without a hostPort",
			Variant: &requirement.Variant{Fixture: noHostPort},
			Red:     []requirement.Reason{requirement.Refused, requirement.NoAnswer, requirement.Unreachable},
		},
		// Without the hostPort it is the pod on another node that is not answered, the first of the clients.
		MoreControls: []requirement.Control{
			{Says: "what its node sends there dropped",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.OnNodeOf(world.SiblingA, fault.DropOwnPorts("output", network))}},
				Red:   []requirement.Reason{requirement.NoAnswer, requirement.Denied}, // a UDP sender is told
				Wants: []world.Role{world.Node}},
			{Says: "what comes there from the outside dropped on its node",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.OnNodeOf(world.SiblingA, fault.DropOwnPortsFrom(world.Outside, network))}},
				Red:   []requirement.Reason{requirement.NoAnswer}, Wants: []world.Role{world.Outside}},
		},
	}
}

// hostPortClients are those who must reach a hostPort: a pod on another node, every node, and the outside where the
// suite made the cluster and knows that it is beside it.
func hostPortClients(env *requirement.Env) []*requirement.End {
	clients := distinct(env.Roles(world.Far), env.Roles(world.Node))
	for _, outside := range env.Roles(world.Outside) {
		if _, ok := outside.IP(env.Family); ok {
			clients = append(clients, outside)
		}
	}
	return clients
}

// startHostPort starts a pod on the node with the one port published, or not under the variant.
func startHostPort(ctx context.Context, env *requirement.Env, node string, port corev1.ContainerPort) (*requirement.End, error) {
	pod := hostPortOn(env, node, port)
	started, err := env.Start(ctx, pod)
	if err != nil {
		return nil, err
	}
	return started.Ends[hostPortPod], nil
}

func hostPortOn(env *requirement.Env, node string, port corev1.ContainerPort) *corev1.Pod {
	container := world.Container(hostPortPod, fmt.Sprintf("tcp=:%d", world.TargetPort), fmt.Sprintf("udp=:%d", world.TargetPort),
		fmt.Sprintf("tcp=:%d", world.OtherPort), fmt.Sprintf("udp=:%d", world.OtherPort))
	port.ContainerPort = world.TargetPort
	if env.Fixture(noHostPort) {
		port.HostPort, port.HostIP = 0, ""
	}
	container.Ports = []corev1.ContainerPort{port}
	pod := env.NewPod(node, container)
	pod.Namespace = env.PrivilegedNamespace() // the baseline level forbids host ports
	return pod
}

// nodeIP is the node's InternalIP of the family in force.
func nodeIP(ctx context.Context, env *requirement.Env, name string) (netip.Addr, error) {
	node, err := env.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("reading Node %s: %w", name, err)
	}
	for _, a := range node.Status.Addresses {
		ip, err := netip.ParseAddr(a.Address)
		if err == nil && a.Type == corev1.NodeInternalIP && ip.Is4() == (env.Family == corev1.IPv4Protocol) {
			return ip, nil
		}
	}
	return netip.Addr{}, &requirement.Unsupported{Probed: fmt.Sprintf("Node %s has no InternalIP of %s", name, env.Family)}
}

func hostPortIP() requirement.Requirement {
	return requirement.Requirement{
		ID:     "pod/host-port-ip",
		Long:   true,
		Title:  "A hostPort with hostIP 127.0.0.1 is reached there on its node, and not on the node's InternalIP.",
		Level:  requirement.Must,
		Clause: hostPortsCoexist,
		Why: "People bind admin ports to the node's loopback and rely on it. A plugin that ignores hostIP publishes them to everyone. Five attempts " +
			"in a row are not answered, each beside one to a hostPort of the same pod that is.",
		PodSecurity: "privileged",
		PerNode:     true,
		Roles:       []world.Role{world.SiblingA},
		Wants:       []world.Role{world.Far, world.Node, world.Outside},
		Check:       checkHostPortIP,
		Control: requirement.Control{
			Says:    "the same hostPort without a hostIP",
			Variant: &requirement.Variant{Fixture: anyHostIP},
			Red:     []requirement.Reason{requirement.Answered},
		},
		MoreControls: []requirement.Control{{
			Says:  "what its node sends there dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.OnNodeOf(world.SiblingA, fault.DropOwnPorts("output", "tcp"))}},
			Red:   []requirement.Reason{requirement.NoAnswer}, Wants: []world.Role{world.Node},
		}},
	}
}

func checkHostPortIP(ctx context.Context, env *requirement.Env) error {
	local := env.Role(world.SiblingA)
	at, err := nodeIP(ctx, env, local.Node)
	if err != nil {
		return err
	}
	port := corev1.ContainerPort{Protocol: corev1.ProtocolTCP, HostPort: int32(env.Port(0)), HostIP: env.Loopback().String()}
	if env.Fixture(anyHostIP) {
		port.HostIP = ""
	}
	// The same pod publishes another port without a hostIP: who reaches that would reach this one.
	pod := hostPortOn(env, local.Node, port)
	pod.Spec.Containers[0].Ports = append(pod.Spec.Containers[0].Ports, besidePort(env, corev1.ProtocolTCP))
	started, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	server := started.Ends[hostPortPod]
	if node := env.OnNode(world.Node, local.Node); node != nil {
		if _, err := exchange.Works(ctx, env, exchange.Talk{From: node, To: server, Network: "tcp",
			Dial: requirement.At(env.Loopback(), env.Port(0))}); err != nil {
			return err
		}
	} else {
		env.Note("not judged that the port answers on the node's loopback: no agent is admitted there")
	}
	for _, client := range append(hostPortClients(env), local) {
		heard := exchange.Talk{From: client, To: server, Network: "tcp", Dial: requirement.At(at, env.Port(besideHostPort))}
		if client == local { // whose way back nothing promises, see hostPort
			if _, err := exchange.Again(ctx, env, heard); err != nil {
				env.Note("%s: not judged from a pod on the same node, which reaches none of the pod's hostPorts", env.Family)
				continue
			}
		} else if _, err := exchange.Works(ctx, env, heard); err != nil {
			return err
		}
		if _, err := exchange.Silent(ctx, env, exchange.Talk{From: client, Network: "tcp", Dial: requirement.At(at, env.Port(0))}, heard,
			"where hostIP is "+port.HostIP); err != nil {
			return err
		}
	}
	return nil
}

// besideHostPort is which of the requirement's ports is published beside the one that nobody is to answer at.
const besideHostPort = 2

// besidePort publishes that port, of every address of the node.
func besidePort(env *requirement.Env, protocol corev1.Protocol) corev1.ContainerPort {
	return corev1.ContainerPort{Protocol: protocol, HostPort: int32(env.Port(besideHostPort)), ContainerPort: world.OtherPort}
}
