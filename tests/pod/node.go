package pod

import (
	"context"
	"net/netip"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func nodeToLocalPods() requirement.Requirement {
	return nodeToPods(requirement.Requirement{
		ID:    "pod/node-to-local-pods",
		Title: "From every node its own pods are reached by pod IP, over TCP and UDP.",
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/services-networking/#the-kubernetes-network-model",
			Says: "Agents on a node, such as system daemons or the kubelet, can communicate with all pods on that node.",
		},
		Why: "The kubelet's HTTP, TCP and gRPC probes take this way: where it is broken, healthy pods are restarted or never ready. " +
			"A host firewall or a policy that forgets the node's own traffic breaks it.",
	}, "on one node, what its pods answer dropped", func(node, pod *requirement.End) bool { return node.Node == pod.Node })
}

func nodeToRemotePods() requirement.Requirement {
	return nodeToPods(requirement.Requirement{
		ID:    "pod/node-to-remote-pods",
		Title: "From every node the pods of other nodes are reached by pod IP, over TCP and UDP.",
		Clause: requirement.Clause{
			URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/common/network/networking.go#L108",
			Says: "Conformance: \"should function for node-pod communication\": from a pod in the node's network, HTTP and UDP reach a " +
				"pod on every node.",
		},
		Why: "The API server reaches webhooks and aggregated APIs this way, and every hostNetwork pod its peers. The source is then " +
			"whichever of the node's addresses the route prefers: tunnels and cloud source checks break exactly this.",
		Needs: []requirement.Feature{requirement.TwoNodes},
	}, "on one node, what pods of other nodes answer dropped", func(node, pod *requirement.End) bool { return node.Node != pod.Node })
}

func nodeToPods(r requirement.Requirement, says string, pairs func(node, pod *requirement.End) bool) requirement.Requirement {
	r.Level = requirement.Must
	r.Needs = append(r.Needs, requirement.NodeAgent)
	r.PodSecurity = "privileged"
	r.Roles = []world.Role{world.Node, world.Everywhere, world.SiblingA}
	r.PerFamily = true
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		others := map[string]string{}
		worked, err := sweep{
			clients: env.Roles(world.Node), servers: distinct(env.Roles(world.Everywhere), env.Roles(world.SiblingA)), pairs: pairs,
			see: func(node, _ *requirement.End, _ string, seen wire.Exchange) {
				if from := exchange.Addr(seen.Witness.Remote); !ownAddress(node, from) {
					others[node.Node] = from.String()
				}
			},
		}.run(ctx, env)
		if err != nil {
			return err
		}
		if worked == 0 {
			return &requirement.Unsupported{Probed: "no node that takes the suite's agents has such a pod"}
		}
		env.Note("%s: %d conversations", env.Family, worked)
		for node, source := range others {
			env.Note("%s: pods see the node %s as %s, which is none of its InternalIPs", env.Family, node, source)
		}
		return nil
	}
	r.Control = requirement.Control{
		Says: says,
		Fault: &requirement.Fault{Points: []requirement.Point{
			fault.OnOneNode(fault.DropFrom("input", "tcp")),
		}},
		Red: []requirement.Reason{requirement.NoAnswer},
	}
	r.MoreControls = []requirement.Control{{
		Says:  says + ", UDP alone",
		Fault: &requirement.Fault{Points: []requirement.Point{fault.OnOneNode(fault.DropFrom("input", "udp"))}},
		Red:   []requirement.Reason{requirement.NoAnswer},
	}}
	return r
}

func podToNode() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/pod-to-node",
		Title: "A pod reaches every node's InternalIP, its own node's and others', over TCP and UDP.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/architecture/control-plane-node-communication/#node-to-control-plane",
			Says: "Pods reach the API server through a virtual IP that is redirected to the API server's own endpoint, " +
				"a node's address in most clusters. No sentence promises every node.",
		},
		Why: "The API server, node exporters, NodePorts and kubelets are dialled on node addresses. A node's firewall often admits " +
			"other nodes and not the pods' range.",
		Needs:       []requirement.Feature{requirement.NodeAgent},
		PodSecurity: "privileged",
		Roles:       []world.Role{world.Everywhere, world.Node},
		PerFamily:   true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			translated := map[string]int{}
			_, err := sweep{
				clients: env.Roles(world.Everywhere), servers: env.Roles(world.Node),
				pairs: func(_, _ *requirement.End) bool { return true },
				see: func(pod, node *requirement.End, _ string, seen wire.Exchange) {
					if exchange.Addr(seen.Witness.Remote) != exchange.Addr(seen.Local) {
						where := "other nodes see"
						if pod.Node == node.Node {
							where = "its own node sees"
						}
						translated[where]++
					}
				},
			}.run(ctx, env)
			for where, n := range translated {
				env.Note("%s: %s a pod under another address than its own (%d conversations)", env.Family, where, n)
			}
			if err == nil && len(translated) == 0 {
				env.Note("%s: every node sees the pod's own IP", env.Family)
			}
			return err
		},
		Control: requirement.Control{
			Says: "what comes to one node dropped there",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(fault.DropOwnPorts("input", "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{
			{Says: "what comes to one node over UDP dropped there",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.OnOneNode(fault.DropOwnPorts("input", "udp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}},
			{Says: "what one node forwards of its pods to other nodes dropped",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.OnOneNode(fault.DropOwnPorts("forward", "tcp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}},
		},
	}
}

func ownAddress(end *requirement.End, ip netip.Addr) bool {
	for _, own := range end.IPs {
		if own == ip {
			return true
		}
	}
	return false
}
