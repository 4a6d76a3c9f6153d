package suite

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// relay is the command that connects an exec stream to its container's agent.
var relay = []string{"/agent", "relay"}

// cast knows who plays which part in the world as it was applied.
type cast struct {
	config *rest.Config
	kube   kubernetes.Interface
	plan   world.Plan

	mu       sync.Mutex
	ends     map[world.Role][]*requirement.End
	services map[world.Service]requirement.ServiceSeen
	agents   []*probe.Agent
	missing  map[world.Role]string // why this cluster has nobody for the role
	broken   map[world.Role]string // why the pod that should play it did not start
	lacking  map[requirement.Feature]string
}

func newCast(config *rest.Config, kube kubernetes.Interface, plan world.Plan) *cast {
	return &cast{config: config, kube: kube, plan: plan, ends: map[world.Role][]*requirement.End{},
		services: map[world.Service]requirement.ServiceSeen{}, missing: map[world.Role]string{}, broken: map[world.Role]string{},
		lacking: map[requirement.Feature]string{}}
}

// Ends are those who play the role, by node.
func (c *cast) Ends(r world.Role) []*requirement.End {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.ends[r])
}

// Service is what plays the part.
func (c *cast) Service(s world.Service) (requirement.ServiceSeen, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen, ok := c.services[s]
	return seen, ok
}

// Dialer opens a stream to a command in the end's container.
func (c *cast) Dialer(end *requirement.End, command ...string) probe.Dialer {
	return probe.Exec(c.config, end.Namespace, end.Pod, end.Container, command...)
}

// enter gives a running pod its parts in the world.
func (c *cast) enter(planned world.Pod, running *corev1.Pod) error {
	ends, err := c.open(planned, running)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, end := range ends {
		c.agents = append(c.agents, end.Agent)
		c.ends[end.Role] = append(c.ends[end.Role], end)
		slices.SortFunc(c.ends[end.Role], func(a, b *requirement.End) int { return strings.Compare(a.Node, b.Node) })
	}
	return nil
}

// open makes the ends of a running pod: one agent a container, however many roles it plays.
func (c *cast) open(planned world.Pod, running *corev1.Pod) (ends []*requirement.End, err error) {
	var ips []netip.Addr
	for _, p := range running.Status.PodIPs {
		ip, err := netip.ParseAddr(p.IP)
		if err != nil {
			return nil, fmt.Errorf("pod %s has the IP %q: %w", key(running), p.IP, err)
		}
		ips = append(ips, ip)
	}
	agents := map[string]*probe.Agent{}
	for _, part := range planned.Plays {
		if agents[part.Container] == nil {
			name := running.Name + "/" + part.Container
			agents[part.Container] = probe.New(name, probe.Exec(c.config, running.Namespace, running.Name, part.Container, relay...))
		}
		ends = append(ends, &requirement.End{
			Agent: agents[part.Container], Role: part.Role, Namespace: running.Namespace, Pod: running.Name, Container: part.Container,
			Node: running.Spec.NodeName, IPs: ips, HostNetwork: running.Spec.HostNetwork,
		})
	}
	return ends, nil
}

// MarkAbsent keeps what a check has found the cluster to lack.
func (c *cast) MarkAbsent(f requirement.Feature, probed string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lacking[f] = probed
}

// WhyAbsent is what a check probed to find so.
func (c *cast) WhyAbsent(f requirement.Feature) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lacking[f]
}

// lacks says why a requirement's parts can't all be played: unsupported where this cluster has nobody for
// one, or was found to lack what it needs, an error where a fixture should be there and is not; "" where they can.
func (c *cast) lacks(q requirement.Requirement) (reports.Outcome, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, role := range append(slices.Clone(q.Roles), q.Wants...) {
		if why := c.broken[role]; why != "" {
			return reports.Errored, "a fixture did not start: " + why
		}
	}
	for _, f := range q.Needs {
		if probed := c.lacking[f]; probed != "" {
			return reports.Unsupported, probed
		}
	}
	for _, role := range q.Roles {
		if len(c.ends[role]) == 0 {
			if why := c.missing[role]; why != "" {
				return reports.Unsupported, why
			}
			return reports.Unsupported, fmt.Sprintf("nobody plays the %s in this cluster", role)
		}
	}
	for _, s := range q.Services {
		if _, ok := c.services[s]; !ok {
			return reports.Unsupported, fmt.Sprintf("there is no Service %s in this cluster", s)
		}
	}
	return "", ""
}

// without keeps in one of the two why nobody plays the role.
func (c *cast) without(reasons map[world.Role]string, role world.Role, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reasons[role] = why
}

// why nobody plays the role: it could not be planned, was refused, or did not start; "" where nothing stood in its way.
func (c *cast) why(role world.Role) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.missing[role] + c.broken[role]
}

func (c *cast) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.agents {
		if a.Close() != nil {
			continue // the stream ends with its pod
		}
	}
}
