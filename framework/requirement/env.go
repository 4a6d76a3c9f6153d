package requirement

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/until"
)

// PortsEach is how many ports belong to each requirement: nobody else listens on them or dials from
// them, so a fault can match one requirement's traffic by port alone.
const PortsEach = 16

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

// Hostname is what the end's servers say of themselves: the pod's name, the node's under hostNetwork.
func (e *End) Hostname() string {
	if e.HostNetwork {
		return e.Node
	}
	if e.Pod == "" {
		return e.Name()
	}
	return e.Pod
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

// Cast knows who plays which part.
type Cast interface {
	Ends(world.Role) []*End
	Service(world.Service) (ServiceSeen, bool)
	Plan() world.Plan
	// Dialer opens a stream to a command in the end's container.
	Dialer(end *End, command ...string) probe.Dialer
	// Start makes a pod and waits until it is ready, or until enough says so where that is not nil, with an end for
	// each of its containers, sidecars (init containers that always restart) too.
	Start(ctx context.Context, pod *corev1.Pod, enough func(*corev1.Pod) bool) (*Started, error)
	// Join opens an end in any container of a running pod, an ephemeral one for example, which the caller closes.
	Join(pod *corev1.Pod, container string) (*End, error)
	// Lack keeps that the cluster was probed for something and does not have it: requirements that need it are unsupported from
	// then on. Lacking is what was probed, "" where no check has found so: one that is being judged need wait no longer.
	Lack(f Feature, probed string)
	Lacking(f Feature) (probed string)
}

// Started is a pod that a check made.
type Started struct {
	Pod  *corev1.Pod     // as it was when it became ready
	Ends map[string]*End // by container
	// Remove deletes the pod and waits until it is gone. The suite does so after the check by itself.
	Remove func(context.Context) error
}

// Env is what a check sees: the parts, an address family, ports of its own, and patience.
type Env struct {
	Requirement *Requirement
	Kube        kubernetes.Interface
	Config      *rest.Config
	Family      corev1.IPFamily
	// Patience is how long a check may go on observing before it says that something does not hold;
	// 0 is a single attempt.
	Patience time.Duration
	// Attempt bounds a single network attempt.
	Attempt time.Duration
	Cast    Cast
	Base    int      // first of PortsEach ports
	Variant *Variant // in force, or nil
	middle  middle

	mu    sync.Mutex
	notes []string
	after []func(context.Context) error

	converged []Convergence
}

// Defer has something done after the check, whatever came of it, with a context of its own.
func (e *Env) Defer(do func(context.Context) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.after = append(e.after, do)
}

// CleanUp does what was deferred, the last first.
func (e *Env) CleanUp(ctx context.Context) error {
	e.mu.Lock()
	after := e.after
	e.after = nil
	e.mu.Unlock()
	var problems []error
	for i := len(after) - 1; i >= 0; i-- {
		problems = append(problems, after[i](ctx))
	}
	return errors.Join(problems...)
}

// Fixture says whether the named variant of a fixture that the check makes itself is in force.
func (e *Env) Fixture(name string) bool { return e.Variant != nil && e.Variant.Fixture == name }

// NewPod is a pod of the check's own, to be altered and given to Start.
func (e *Env) NewPod(node string, containers ...corev1.Container) *corev1.Pod {
	name := strings.ReplaceAll(e.Requirement.ID, "/", "-")
	pod := e.Cast.Plan().Own(name, node, containers...)
	pod.Name, pod.GenerateName = "", name+"-"
	return pod
}

// Start makes the pod, waits until it is ready and removes it after the check.
func (e *Env) Start(ctx context.Context, pod *corev1.Pod) (*Started, error) {
	return e.StartUntil(ctx, pod, nil)
}

// StartUntil is Start for a pod that is not to be waited for until it is ready, but until enough says so.
func (e *Env) StartUntil(ctx context.Context, pod *corev1.Pod, enough func(*corev1.Pod) bool) (*Started, error) {
	started, err := e.Cast.Start(ctx, pod, enough)
	if err != nil {
		return nil, err
	}
	e.Defer(started.Remove)
	return started, nil
}

// Role is the one end that plays the role, under the variant in force. A role that the requirement
// does not declare, or that this cluster has nobody for, is a mistake of the requirement: it panics,
// and the suite reports the row as not judged.
func (e *Env) Role(r world.Role) *End {
	all := e.Roles(r)
	if len(all) == 0 {
		panic(fmt.Sprintf("nobody plays %q in %s", r, e.Requirement.ID))
	}
	return all[0]
}

// Roles are all the ends that play the role: one on every node for world.Everywhere and world.Node.
func (e *Env) Roles(r world.Role) []*End {
	if e.Variant != nil {
		if other, ok := e.Variant.Roles[r]; ok {
			r = other
		}
	}
	return e.Cast.Ends(r)
}

// OnNode is the end of the role on the named node, nil where there is none.
func (e *Env) OnNode(r world.Role, node string) *End {
	for _, end := range e.Roles(r) {
		if end.Node == node {
			return end
		}
	}
	return nil
}

// Service is the Service that plays the part, under the variant in force.
func (e *Env) Service(s world.Service) ServiceSeen {
	if e.Variant != nil {
		if other, ok := e.Variant.Services[s]; ok {
			s = other
		}
	}
	seen, ok := e.Cast.Service(s)
	if !ok {
		panic(fmt.Sprintf("no Service plays %q in %s", s, e.Requirement.ID))
	}
	return seen
}

// Port is the n-th of the requirement's own ports.
func (e *Env) Port(n int) int {
	if n < 0 || n >= PortsEach {
		panic(fmt.Sprintf("%s asks for port %d of %d", e.Requirement.ID, n, PortsEach))
	}
	return e.Base + n
}

// At joins an address and a port.
func At(ip netip.Addr, port int) string { return net.JoinHostPort(ip.String(), strconv.Itoa(port)) }

// Loopback is the loopback address of the family in force.
func (e *Env) Loopback() netip.Addr {
	if e.Family == corev1.IPv6Protocol {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// Any is the unspecified address of the family in force.
func (e *Env) Any() netip.Addr {
	if e.Family == corev1.IPv6Protocol {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// IP is the end's address in the family in force; an end without one fails the requirement's check
// as not judged, since the suite asks only for families that the cluster has.
func (e *Env) IP(end *End) (netip.Addr, error) {
	ip, ok := end.IP(e.Family)
	if !ok {
		return ip, fmt.Errorf("%s has no %s address in its status (%v)", end, e.Family, end.IPs)
	}
	return ip, nil
}

// Until observes until it is right, within the patience in force; the failure that comes back says
// how often and how long. What settled only after some attempts is noted.
func (e *Env) Until(ctx context.Context, observe func(context.Context) error) error {
	return e.UntilAtLeast(ctx, 0, observe)
}

// UntilAtLeast is Until with at least that much patience, where there is any: for what follows a change more slowly than the rest.
func (e *Env) UntilAtLeast(ctx context.Context, patience time.Duration, observe func(context.Context) error) error {
	within := e.Patience
	if within > 0 {
		within = max(within, patience)
	}
	seen, err := until.Settled(ctx, until.Policy{Within: within}, observe)
	if err == nil {
		if seen.Attempts > 1 {
			e.Note("held on attempt %d, after %s", seen.Attempts, seen.Took.Round(time.Millisecond))
		}
		return nil
	}
	if f := AsFailure(err); f != nil {
		f.Attempts, f.Took = seen.Attempts, seen.Took
		return f
	}
	return err
}

// Note keeps something that is reported and not judged.
func (e *Env) Note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notes = append(e.notes, fmt.Sprintf(format, args...))
}

// Notes are what was noted so far.
func (e *Env) Notes() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.notes...)
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
