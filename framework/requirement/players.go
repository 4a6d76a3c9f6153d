package requirement

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
)

// Players says who plays which role in the world as it was deployed, and starts more pods.
type Players interface {
	// Ends are those who play the role, ordered by node; none where nobody does. Of a role that is played near each worker they are
	// those near the first.
	Ends(world.Role) []*End
	// EndsFrom are those who play the role as it is seen from the worker: near it, where it is a role of that kind.
	EndsFrom(node string, r world.Role) []*End
	// Service is the Service that plays the part; false where the cluster has none.
	Service(world.Service) (ServiceSeen, bool)
	// Dialer opens a stream to a command in the end's container.
	Dialer(end *End, command ...string) probe.Dialer
	// Start makes a pod and waits until it is ready, or until enough says so where that is not nil, with an end for
	// each of its containers, sidecars (init containers that always restart) too.
	Start(ctx context.Context, pod *corev1.Pod, enough func(*corev1.Pod) bool) (*Started, error)
	// Join opens an end in any container of a running pod, an ephemeral one for example, which the caller closes.
	Join(pod *corev1.Pod, container string) (*End, error)
	// MarkAbsent keeps that a check looked for the feature in the cluster and did not find it, with what it probed:
	// requirements that need the feature are unsupported from then on.
	MarkAbsent(feature Feature, probed string)
	// WhyAbsent is what was probed to find the feature absent, "" where no check has found so. A check that waits for the
	// feature need wait no longer where there is a reason.
	WhyAbsent(feature Feature) (probed string)
	// NodeFindings are the nodes that are not judged like the others, and why.
	NodeFindings() []NodeFinding
}

// End is an agent container, or a host outside the cluster, that plays a role.
type End struct {
	*probe.Agent
	Role        world.Role
	Namespace   string // empty outside the cluster
	Pod         string
	Container   string
	Node        string
	IPs         []netip.Addr // status.podIPs, the node's InternalIPs under hostNetwork
	HostNetwork bool
}

// String names the end so that a person finds it.
func (e *End) String() string {
	if e.Pod == "" {
		return string(e.Role)
	}
	return fmt.Sprintf("%s (%s/%s, container %s, node %s)", e.Role, e.Namespace, e.Pod, e.Container, e.Node)
}

// Where is the short form: the pod and its node.
func (e *End) Where() string {
	if e.Pod == "" {
		return string(e.Role)
	}
	return e.Pod + " on " + e.Node
}

// hostnameWithin bounds asking an agent for its hostname: one message over its control channel.
const hostnameWithin = 10 * time.Second

// Hostname is what the end's servers say of themselves (wire.Witness.Who): the pod's name in an ordinary pod. Under hostNetwork,
// and outside the cluster, it is the machine's own hostname, which the agent is asked for: a Node's name may be another, as with a
// kubelet's --hostname-override. The error is of a control channel that does not answer.
func (e *End) Hostname(ctx context.Context) (string, error) {
	if e.Pod != "" && !e.HostNetwork {
		return e.Pod, nil
	}
	ctx, cancel := context.WithTimeout(ctx, hostnameWithin)
	defer cancel()
	host, err := e.Agent.Hostname(ctx)
	if err != nil {
		return "", fmt.Errorf("asking %s for its hostname: %w", e, err)
	}
	return host, nil
}

// Hostnames are what the servers of the ends say of themselves, in the ends' order.
func Hostnames(ctx context.Context, ends ...*End) (names []string, err error) {
	for _, end := range ends {
		name, err := end.Hostname(ctx)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// IP is the end's address of the family; ok is false where it has none.
func (e *End) IP(family corev1.IPFamily) (netip.Addr, bool) {
	for _, ip := range e.IPs {
		if ip.Is4() == (family == corev1.IPv4Protocol) {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// ServiceSeen is a Service as the API shows it.
type ServiceSeen struct {
	*corev1.Service
}

// ClusterIP is the virtual IP of the family; ok is false where it has none.
func (s ServiceSeen) ClusterIP(family corev1.IPFamily) (netip.Addr, bool) {
	for _, text := range s.Spec.ClusterIPs {
		if ip, err := netip.ParseAddr(text); err == nil && ip.Is4() == (family == corev1.IPv4Protocol) {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// Started is a pod that a check made.
type Started struct {
	Pod  *corev1.Pod     // as it was when it became ready
	Ends map[string]*End // by container
	// Remove deletes the pod and waits until it is gone. The suite does so after the check by itself.
	Remove func(context.Context) error
}

// Ready says whether the pod's condition Ready is true.
func Ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
