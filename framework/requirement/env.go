package requirement

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/parley-k8s/parley/fixtures/world"
)

// PortsEach is how many ports belong to each requirement: nobody else listens on them or dials from
// them, so a fault can match one requirement's traffic by port alone.
const PortsEach = 24

// Env is what a check sees: the parts, an address family, ports of its own, and patience.
type Env struct {
	Requirement *Requirement
	Kube        kubernetes.Interface
	Config      *rest.Config
	Family      corev1.IPFamily
	User        string // whom the run acts for, "" where that is not known
	// Node is the worker from which the roles are seen, of a requirement that is judged per node; "" is the first.
	Node string
	// Patience is how long a check may go on observing before it says that something does not hold;
	// 0 is a single attempt.
	Patience time.Duration
	// Attempt bounds a single network attempt.
	Attempt time.Duration
	Players Players
	World   world.Plan // as it is deployed: its names, the cluster's domain and DNS address
	Base    int        // first of PortsEach ports
	Variant *Variant   // in force, or nil
	Proof   int        // which of the requirement's controls is in force, from 0 on
	// SharedAddresses are sentences on the addresses that two pods or nodes were seen to have while the run went on so far.
	SharedAddresses []string
	// Explained says that all that the failure crosses was found to carry nothing, and why: it is not waited for longer than an attempt
	// takes. nil where nothing was found.
	Explained func(*Failure) bool
	middle    middle

	mu    sync.Mutex
	notes []string
	after []func(context.Context) error

	converged []Convergence
	late      []LateHold
}

// Namespace is where the pods and Services of the world are, under the restricted Pod Security level.
func (e *Env) Namespace() string { return e.World.Main() }

// PrivilegedNamespace admits pods of the privileged Pod Security level.
func (e *Env) PrivilegedNamespace() string { return e.World.Privileged() }

// Labels are a fresh copy of the labels that mark an object as made by this run, by which it is found and removed also after
// a run that was killed. Every object that a check makes carries them.
func (e *Env) Labels() map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, e.World.Labels)
	return labels
}

// ObjectMeta is the metadata of an object that the check makes in the world's namespace: it has the run's labels, and the API
// server completes its name. An empty prefix is the requirement's ID.
func (e *Env) ObjectMeta(prefix string) metav1.ObjectMeta {
	if prefix == "" {
		prefix = e.Requirement.ObjectName() + "-"
	}
	return metav1.ObjectMeta{GenerateName: prefix, Namespace: e.Namespace(), Labels: e.Labels()}
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
	name := e.Requirement.ObjectName()
	pod := e.World.Own(name, node, containers...)
	pod.Name, pod.GenerateName = "", name+"-"
	return pod
}

// Start makes the pod, waits until it is ready and removes it after the check.
func (e *Env) Start(ctx context.Context, pod *corev1.Pod) (*Started, error) {
	return e.StartUntil(ctx, pod, nil)
}

// StartUntil is Start for a pod that is not to be waited for until it is ready, but until enough says so.
func (e *Env) StartUntil(ctx context.Context, pod *corev1.Pod, enough func(*corev1.Pod) bool) (*Started, error) {
	started, err := e.Players.Start(ctx, pod, enough)
	if err != nil {
		return nil, err
	}
	e.Defer(started.Remove)
	return started, nil
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
