package container

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

// registry remembers handles.
type registry[K comparable] struct {
	mu   sync.Mutex
	open map[K]string
}

func newRegistry[K comparable]() *registry[K] { return &registry[K]{open: map[K]string{}} }

func (r *registry[K]) put(key K, handle string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[key] = handle
}

func (r *registry[K]) take(key K) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	handle := r.open[key]
	delete(r.open, key)
	return handle
}

// portName is how the probed container names the port of a place: a name is looked up in that container alone.
func portName(place int) intstr.IntOrString {
	return intstr.FromString([]string{"startup", "readiness", "liveness", "nowhere"}[place])
}

var httpProbe = func() probed {
	p := probed{kind: "http", half: lastingReadiness, title: "HTTP probes", timeout: probeTimeout, url: probesPage + "#httpget",
		says: "An HTTP GET to the pod's IP, at a port of the container by number or name; a status from 200 to 399 is success, and any other is failure.",
		why: "Rollouts, endpoints and restarts all rest on it. The kubelet asks from the node, so that a policy or firewall which takes the node for " +
			"a stranger has healthy pods restarted.",
		handler: func(_ *requirement.Env, place int) corev1.ProbeHandler {
			return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/health", Port: portName(place)}}
		}}
	p.answer, p.fail = probeServers("http", "unavailable")
	return p
}()

var tcpProbe = func() probed {
	p := probed{kind: "tcp", half: lastingLiveness, title: "TCP probes", timeout: probeTimeout, url: probesPage + "#tcpsocket",
		says: "A TCP connection to the pod's IP at a port of the container: it succeeds when it opens, even if it is closed at once.",
		why:  "What speaks no HTTP is watched so: databases, brokers, proxies. A data path that answers for the pod has dead ones look alive.",
		handler: func(_ *requirement.Env, place int) corev1.ProbeHandler {
			return corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: portName(place)}}
		}}
	p.answer, p.fail = probeServers("tcp", "")
	return p
}()

var grpcProbe = func() probed {
	p := probed{kind: "grpc", half: noStartupProbe, title: "gRPC probes", timeout: grpcTimeout, url: probesPage + "#grpc",
		says: "A call of grpc.health.v1 to the pod's IP at a port by number: it succeeds when the answer is SERVING.",
		why:  "Servers of gRPC need no second port and no helper for it. It is HTTP/2 without TLS, which proxies in between may not pass.",
		handler: func(env *requirement.Env, place int) corev1.ProbeHandler {
			return corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: int32(env.Port(place))}}
		}}
	p.answer, p.fail = probeServers("grpc", "unavailable")
	return p
}()

// probeFile is what an exec probe looks for in its container's own file system.
func probeFile(place int) string { return fmt.Sprintf("/run/parley/probe-%d", place) }

var execProbe = probed{kind: "exec", half: siblingProbed, title: "Exec probes", timeout: probeTimeout, url: probesPage + "#exec",
	says: "A command run within the container: it succeeds when it ends with 0.",
	why: "It sees what is in the container and nothing of the network, through the runtime's exec. It has to run in the container that names it, " +
		"whose files it looks at.",
	handler: func(_ *requirement.Env, place int) corev1.ProbeHandler {
		return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/agent", "exists", probeFile(place)}}}
	},
	answer: func(ctx context.Context, _ *requirement.Env, end *requirement.End, place int) error {
		return fileSteps(ctx, end, wire.File{Do: "write", Path: probeFile(place)})
	},
	fail: func(ctx context.Context, _ *requirement.Env, end *requirement.End, place int) error {
		return fileSteps(ctx, end, wire.File{Do: "remove", Path: probeFile(place)})
	},
}
