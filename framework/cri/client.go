package cri

import (
	"context"
	"fmt"
	"net"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Labels that the kubelet gives to sandboxes and containers (k8s.io/kubelet/pkg/types).
const (
	podNameLabel      = "io.kubernetes.pod.name"
	podNamespaceLabel = "io.kubernetes.pod.namespace"
	podUIDLabel       = "io.kubernetes.pod.uid"
	containerLabel    = "io.kubernetes.container.name"
)

// Client is a connection to one node's runtime; Close ends it. Calls need a context with a deadline: a socket
// behind which nobody speaks gRPC is dialled until then.
type Client struct {
	cri.RuntimeServiceClient
	Node     string
	Endpoint string // the socket's path on the node
	conn     *grpc.ClientConn
}

// Connect prepares a client of the runtime beside the node's agent, which plays world.Node. Nothing is dialled
// before the first call.
func Connect(ctx context.Context, env *requirement.Env, agent *requirement.End) (*Client, error) {
	endpoint, err := Endpoint(ctx, env, agent.Node)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///cri",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return probe.Tunnel(ctx, env.Players.Dialer(agent, "/agent", "relay", path.Join(world.HostPath, Direct(endpoint))))
		}))
	if err != nil {
		return nil, fmt.Errorf("preparing a CRI client of %s: %w", agent.Node, err)
	}
	return &Client{RuntimeServiceClient: cri.NewRuntimeServiceClient(conn), Node: agent.Node, Endpoint: endpoint, conn: conn}, nil
}

// OnNode is Connect for the node of that name, for a check whose requirement declares world.Node. Without an agent there it is
// *requirement.Unsupported.
func OnNode(ctx context.Context, env *requirement.Env, node string) (*Client, error) {
	if agent := env.OnNode(world.Node, node); agent != nil {
		return Connect(ctx, env, agent)
	}
	return nil, &requirement.Unsupported{Probed: "no agent in the node's own namespaces is admitted on " + node + ", and the runtime is reached by it"}
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Sandboxes are the sandboxes of the pod with the UID that the runtime keeps, the newest first, stopped ones too.
func (c *Client) Sandboxes(ctx context.Context, uid string) ([]*cri.PodSandbox, error) {
	list, err := c.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{
		LabelSelector: map[string]string{podUIDLabel: uid}}})
	if err != nil {
		return nil, fmt.Errorf("listing the sandboxes of pod %s on %s: %w", uid, c.Node, err)
	}
	return newestFirst(list.Items), nil
}

// Owner is the pod that a sandbox or container belongs to by its labels, and the container's name (empty for a
// sandbox). ok is false for one that no kubelet made.
func Owner(labels map[string]string) (namespace, pod, container string, ok bool) {
	namespace, pod = labels[podNamespaceLabel], labels[podNameLabel]
	return namespace, pod, labels[containerLabel], namespace != "" && pod != ""
}
