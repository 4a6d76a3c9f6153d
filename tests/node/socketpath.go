package node

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/cri"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/authority"
)

// documentedSockets are the endpoints by the runtime's name in the Node's status, from the table that the clause links.
var documentedSockets = map[string]string{
	"containerd": "/var/run/containerd/containerd.sock",
	"cri-o":      "/var/run/crio/crio.sock",
	"docker":     "/var/run/cri-dockerd.sock",
}

// elsewhere is where the runtime of a forged Node says that it listens.
const elsewhere = "/run/parley/runtime.sock"

func criSocketPath() requirement.Requirement {
	return requirement.Requirement{
		ID:    "node/cri-socket-path",
		Title: "The socket that each kubelet names is the documented one of the runtime that its Node reports.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/#installing-runtime",
			Says: "kubeadm looks for /var/run/containerd/containerd.sock, /var/run/crio/crio.sock and /var/run/cri-dockerd.sock; where it " +
				"finds none or several it has to be told.",
		},
		Why: "crictl, kubeadm, log collectors and security agents look for the runtime at these paths. At another path everything " +
			"that the kubelet does works, and everything that stands beside it finds no runtime.",
		Roles: []world.Role{world.Everywhere, world.Near},
		Check: socketsDocumented,
		Control: requirement.Control{
			Says:    "a Node whose kubelet, an agent, names another path",
			Variant: &requirement.Variant{Make: forgeElsewhere, ClusterScoped: nodeObjects},
			Red:     []requirement.Reason{requirement.Misplaced},
			Alone:   true, // whoever lists nodes meets it
		},
	}
}

func socketsDocumented(ctx context.Context, env *requirement.Env) error {
	nodes, err := env.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	looked := 0
	for _, node := range nodes.Items {
		if len(asked(env, []*requirement.End{{Node: node.Name}})) == 0 {
			continue
		}
		if env.OnNode(world.Everywhere, node.Name) == nil && (env.Variant == nil || !forged(env, node.Name)) {
			continue
		}
		endpoint, err := cri.Endpoint(ctx, env, node.Name)
		if err != nil {
			return err
		}
		runtime, _, _ := strings.Cut(node.Status.NodeInfo.ContainerRuntimeVersion, "://")
		want, known := documentedSockets[runtime]
		if !known {
			env.Note("%s: nothing is documented for the runtime %q, at %s", node.Name, runtime, endpoint)
			continue
		}
		looked++
		if cri.Direct(endpoint) != cri.Direct(want) {
			return &requirement.Failure{Reason: requirement.Misplaced, Target: "kubelet of node " + node.Name, Protocol: "CRI",
				Expected: runtime + " at " + want, Observed: "containerRuntimeEndpoint " + endpoint,
				Again: "kubectl get --raw /api/v1/nodes/" + node.Name + "/proxy/configz"}
		}
	}
	if looked == 0 {
		return &requirement.Unsupported{Probed: "no node reports a runtime that a socket is documented for"}
	}
	return nil
}

// forgeElsewhere makes a Node whose kubelet is the agent Near: it serves a configz that names another path.
func forgeElsewhere(ctx context.Context, env *requirement.Env) (func(context.Context) error, error) {
	agent := env.Role(world.Near)
	configz, err := json.Marshal(map[string]any{"kubeletconfig": map[string]string{"containerRuntimeEndpoint": "unix://" + elsewhere}})
	if err != nil {
		return nil, fmt.Errorf("encoding a configz: %w", err)
	}
	ca, err := authority.New()
	if err != nil {
		return nil, err
	}
	cert, key, err := ca.Issue(agent.Pod)
	if err != nil {
		return nil, err
	}
	server, err := agent.Listen(ctx, wire.Listen{Network: "http", Address: requirement.At(env.Any(), env.Port(0)), Cert: cert, Key: key,
		Answers: map[string]string{"/configz": string(configz)}})
	if err != nil {
		return nil, fmt.Errorf("opening a kubelet's port in %s: %w", agent, err)
	}
	if !server.Ok() {
		return nil, fmt.Errorf("%s cannot open a kubelet's port: %s", agent, server.Errno)
	}
	closeServer := func(ctx context.Context) error { return agent.Release(ctx, server.Handle) }
	real, err := env.Kube.CoreV1().Nodes().Get(ctx, agent.Node, metav1.GetOptions{})
	if err != nil {
		return nil, lift(ctx, closeServer, fmt.Errorf("reading Node %s: %w", agent.Node, err))
	}
	ip, err := env.IP(agent)
	if err != nil {
		return nil, lift(ctx, closeServer, err)
	}
	name, remove, err := forgeNode(ctx, env, corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip.String()}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(env.Port(0))}},
		NodeInfo:        corev1.NodeSystemInfo{ContainerRuntimeVersion: real.Status.NodeInfo.ContainerRuntimeVersion},
	})
	if err != nil {
		return nil, lift(ctx, closeServer, err)
	}
	undo := func(ctx context.Context) error { return lift(ctx, closeServer, remove(ctx)) }
	// An API server that verifies its kubelets' certificates does not take this one: nothing is shown then.
	if _, err := cri.Endpoint(ctx, env, name); err != nil {
		return nil, lift(ctx, undo, err)
	}
	return undo, nil
}
