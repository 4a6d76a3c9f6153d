package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func addresses() requirement.Requirement {
	return requirement.Requirement{
		ID:    "node/addresses",
		Title: "Every ready node has an InternalIP, and no two nodes, ready or not, have the same.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/node/node-status/#addresses",
			Says: "A node reports its addresses; the InternalIP is the one that it is routed by within the cluster, so it " +
				"stands for that node alone.",
		},
		Why: "The API server dials kubelets, CNIs build tunnels and routes, and hostNetwork pods are found by this address. " +
			"Machines cloned with their network configuration, or a kubelet that chose the wrong interface, make two nodes one.",
		Roles: []world.Role{world.Everywhere},
		AtEnd: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			return env.Until(ctx, func(ctx context.Context) error { return distinctAddresses(ctx, env) })
		},
		Control: requirement.Control{
			Says:    "two Node objects that name one address",
			Variant: &requirement.Variant{Make: forgeTwins, ClusterScoped: nodeObjects},
			Red:     []requirement.Reason{requirement.NotDistinct},
			Alone:   true, // whoever lists nodes meets it
		},
		MoreControls: []requirement.Control{{
			Says: "a Node object that names no address",
			Variant: &requirement.Variant{ClusterScoped: nodeObjects, Make: func(ctx context.Context, env *requirement.Env) (func(context.Context) error, error) {
				_, undo, err := forgeNode(ctx, env, corev1.NodeStatus{})
				return undo, err
			}},
			Red:   []requirement.Reason{requirement.Missing},
			Alone: true,
		}},
	}
}

func distinctAddresses(ctx context.Context, env *requirement.Env) error {
	nodes, err := env.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	for _, f := range env.SickNodes(requirement.NodeSharesAddress) {
		if env.Variant == nil { // a kubelet may have put it right meanwhile
			return &requirement.Failure{Reason: requirement.NotDistinct, Target: "Node " + f.Node, Expected: "an InternalIP that no other node has",
				Observed: "as the run began: " + f.Said, Final: requirement.SharedIsFinal, Again: "kubectl get nodes -o wide"}
		}
	}
	owner := map[string]string{}
	for _, node := range nodes.Items {
		if env.Variant == nil && node.Labels[requirement.RunLabel] != "" {
			continue // another check's forgery
		}
		fail := func(reason requirement.Reason, expected, observed string) error {
			f := &requirement.Failure{Reason: reason, Target: "Node " + node.Name, Expected: expected, Observed: observed,
				Again: "kubectl get nodes -o wide"}
			if reason == requirement.NotDistinct {
				f.Final = requirement.SharedIsFinal
			}
			return f
		}
		internal := internalIPs(&node)
		if len(internal) == 0 && !isReady(&node) {
			env.Note("%s has no InternalIP, and is not ready", node.Name)
			continue
		}
		if len(internal) == 0 {
			return fail(requirement.Missing, "an InternalIP in status.addresses", fmt.Sprintf("%v", node.Status.Addresses))
		}
		for _, ip := range internal {
			if other := owner[ip]; other != "" {
				return fail(requirement.NotDistinct, "an InternalIP that no other node has", ip+", which "+other+" has too")
			}
			owner[ip] = node.Name
		}
	}
	return nil
}

func internalIPs(node *corev1.Node) (ips []string) {
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			ips = append(ips, a.Address)
		}
	}
	return ips
}

func isReady(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// nodeObjects are what a control makes that forges Nodes.
const nodeObjects = "Node objects that no kubelet stands behind"

// nobodysAddress is of the range for documents (RFC 5737): a forged Node never has a live node's, by which a network plugin or a
// load balancer would send that node's traffic elsewhere.
const nobodysAddress = "192.0.2.1"

// forgeTwins makes two Nodes with one address, which is no other node's.
func forgeTwins(ctx context.Context, env *requirement.Env) (func(context.Context) error, error) {
	status := corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nobodysAddress}}}
	_, one, err := forgeNode(ctx, env, status)
	if err != nil {
		return nil, err
	}
	_, other, err := forgeNode(ctx, env, status)
	if err != nil {
		return nil, lift(ctx, one, err)
	}
	return func(ctx context.Context) error { return errors.Join(other(ctx), one(ctx)) }, nil
}

// forgeNode makes a ready Node with that status which takes no pods: it is cordoned and tainted, and lacks the label
// of an operating system, by which DaemonSets of the control plane choose theirs.
func forgeNode(ctx context.Context, env *requirement.Env, status corev1.NodeStatus) (name string, undo func(context.Context) error, err error) {
	nodes := env.Kube.CoreV1().Nodes()
	made, undo, err := requirement.Create(ctx, nodes, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: forgedName(env), Labels: env.Labels()},
		Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{
			{Key: "parley.dev/forged", Effect: corev1.TaintEffectNoSchedule}, {Key: "parley.dev/forged", Effect: corev1.TaintEffectNoExecute}}},
	})
	if err != nil {
		return "", nil, fmt.Errorf("forging a Node: %w", err)
	}
	status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Forged",
		LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}}
	// A patch: controllers write to a new Node meanwhile.
	patch, err := json.Marshal(corev1.Node{Status: status})
	if err == nil {
		_, err = nodes.Patch(ctx, made.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil {
		return "", nil, lift(ctx, undo, fmt.Errorf("forging the status of a Node: %w", err))
	}
	return made.Name, undo, nil
}

// forgedName is a name that no Node has.
func forgedName(env *requirement.Env) string {
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails, by its contract
	return env.World.Prefix + "-forged-" + hex.EncodeToString(id[:])
}

func forged(env *requirement.Env, node string) bool {
	return strings.HasPrefix(node, env.World.Prefix+"-forged-")
}

func nodeToNode() requirement.Requirement {
	return requirement.Requirement{
		ID:    "node/node-to-node",
		Title: "Nodes reach each other on their InternalIPs, over TCP and UDP, in each direction.",
		// Of any port no document but kubeadm's speaks: what all ask for are listed ports, and pods' own traffic.
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/#before-you-begin",
			Says: "kubeadm asks for full network connectivity between all machines of the cluster, over a public or a private network. Elsewhere " +
				"only listed ports are asked for, such as the kubelet's 10250 from the control plane.",
		},
		Why: "Tunnels between pods, kubelets, etcd and hostNetwork pods all rest on it. A firewall that opens only the ports of " +
			"a list, as clouds' security groups do, lets the cluster come up and breaks it at the first port that is not on it. The listed " +
			"ports are judged by node/required-ports and node/api-to-kubelet-exec, pods' traffic by chapter pod.",
		Needs:       []requirement.Feature{requirement.TwoNodes, requirement.NodeAgent},
		PodSecurity: "privileged",
		Roles:       []world.Role{world.Node},
		PerFamily:   true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			nodes := env.Roles(world.Node)
			if len(nodes) < 2 {
				return &requirement.Unsupported{Probed: fmt.Sprintf("the cluster has %d node that an agent runs on", len(nodes))}
			}
			for _, pair := range pairs(nodes) {
				ip, err := env.IP(pair[1])
				if err != nil {
					return err
				}
				for i, protocol := range []string{"tcp", "udp"} {
					if _, err := exchange.Works(ctx, env, exchange.Talk{From: pair[0], To: pair[1], Network: protocol,
						Bind: requirement.At(ip, env.Port(i)), NoNAT: true}); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "the traffic dropped as it arrives on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(fault.DropOwnPorts("input", "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says:  "UDP dropped as it arrives on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.OnOneNode(fault.DropOwnPorts("input", "udp"))}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

// allPairs is up to how many nodes every ordered pair is looked at: their number grows with the square.
const allPairs = 8

// pairs are all ordered pairs, or of many nodes each with the next, in both directions.
func pairs(nodes []*requirement.End) (all [][2]*requirement.End) {
	for i, a := range nodes {
		for j, b := range nodes {
			next := (i+1)%len(nodes) == j || (j+1)%len(nodes) == i
			if i != j && (next || len(nodes) <= allPairs) {
				all = append(all, [2]*requirement.End{a, b})
			}
		}
	}
	return all
}
