package stage

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/parley-k8s/parley/fixtures/agent/control"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/nodehealth"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// relay is the command that connects an exec stream to its container's agent.
var relay = []string{"/agent", "relay"}

// roleAt is where a role is played: near a worker, or "" for one that is the same from everywhere.
type roleAt struct {
	role world.Role
	from string
}

// players know who plays which role in the world as it was deployed.
type players struct {
	config *rest.Config
	kube   kubernetes.Interface
	plan   world.Plan

	mu       sync.Mutex
	ends     map[roleAt][]*requirement.End
	near     map[world.Role]bool // roles that are seen from a worker
	services map[world.Service]requirement.ServiceSeen
	agents   []*probe.Agent
	missing  map[world.Role]string // why this cluster has nobody for the role
	refused  map[roleAt]string     // why the cluster refuses the pod that should play it
	broken   map[roleAt]string     // why that pod did not start
	short    map[world.Role]string // why nobody is left for the role of those that the cluster has
	lacking  map[requirement.Feature]string
	findings []requirement.NodeFinding
	detours  map[string]bool // nodes whose agents are reached by relays
	routes   map[*probe.Agent]*route

	suite  control.Suite
	leases *nodehealth.Leases
}

func newPlayers(config *rest.Config, kube kubernetes.Interface, plan world.Plan) *players {
	return &players{config: config, kube: kube, plan: plan, ends: map[roleAt][]*requirement.End{}, near: map[world.Role]bool{},
		services: map[world.Service]requirement.ServiceSeen{}, missing: map[world.Role]string{},
		refused: map[roleAt]string{}, broken: map[roleAt]string{},
		short: map[world.Role]string{}, lacking: map[requirement.Feature]string{}, detours: map[string]bool{}, routes: map[*probe.Agent]*route{}}
}

// Ends are those who play the role, by node; of a role that is seen from a worker, as the first sees it.
func (p *players) Ends(r world.Role) []*requirement.End { return p.EndsFrom("", r) }

// EndsFrom are those who play the role as it is seen from the worker.
func (p *players) EndsFrom(node string, r world.Role) []*requirement.End {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ends[p.at(r, node)])
}

// at is where the role is played that a worker sees.
func (p *players) at(r world.Role, node string) roleAt {
	switch {
	case !p.near[r]:
		node = ""
	case node == "":
		node = p.plan.Workers[0]
	}
	return roleAt{r, node}
}

// expect takes what is planned: of a role that is seen from a worker nobody else's pod is shown.
func (p *players) expect(planned []world.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pod := range planned {
		for _, part := range pod.Plays {
			p.near[part.Role] = p.near[part.Role] || part.From != ""
		}
	}
}

// Service is what plays the part.
func (p *players) Service(s world.Service) (requirement.ServiceSeen, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, ok := p.services[s]
	return seen, ok
}

// add gives a running pod its roles in the world.
func (p *players) add(planned world.Pod, running *corev1.Pod) error {
	ends, err := p.endsOf(planned, running)
	if err != nil {
		return err
	}
	for i, end := range ends {
		p.addEnd(end, planned.Plays[i].From)
	}
	return nil
}

// endsOf are the ends of a running pod: one agent a container, however many roles it plays.
func (p *players) endsOf(planned world.Pod, running *corev1.Pod) (ends []*requirement.End, err error) {
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
			r := p.routeTo(running, part.Container, "", ips)
			agents[part.Container] = probe.New(name, r)
			p.setRoute(agents[part.Container], r)
		}
		ends = append(ends, &requirement.End{
			Agent: agents[part.Container], Role: part.Role, Namespace: running.Namespace, Pod: running.Name, Container: part.Container,
			Node: running.Spec.NodeName, IPs: ips, HostNetwork: running.Spec.HostNetwork,
		})
	}
	return ends, nil
}

// MarkAbsent keeps what a check has found the cluster to lack.
func (p *players) MarkAbsent(f requirement.Feature, probed string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lacking[f] = probed
}

// WhyAbsent is what a check probed to find so.
func (p *players) WhyAbsent(f requirement.Feature) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lacking[f]
}

// missingFor says why a requirement's roles can't all be played as they are seen from the worker: unsupported where this cluster has
// nobody for one, or was found to lack what it needs, an error where a fixture should be there and is not; "" where they can.
func (p *players) missingFor(q requirement.Requirement, node string) (reports.Outcome, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, role := range append(slices.Clone(q.Roles), q.Wants...) {
		at := p.at(role, node)
		if why := p.broken[at]; why != "" && len(p.ends[at]) == 0 { // those that are left are judged
			return reports.Errored, "a fixture did not start: " + why
		}
	}
	for _, role := range q.Roles {
		if why := p.short[role]; why != "" && len(p.ends[p.at(role, node)]) == 0 {
			return reports.Errored, why
		}
	}
	if why := p.short[world.Far]; why != "" && slices.Contains(q.Needs, requirement.TwoNodes) {
		return reports.Errored, why
	}
	for _, f := range q.Needs {
		if probed := p.lacking[f]; probed != "" {
			return reports.Unsupported, probed
		}
	}
	for _, role := range q.Roles {
		if at := p.at(role, node); len(p.ends[at]) == 0 {
			if why := p.missing[role] + p.refused[at]; why != "" {
				return reports.Unsupported, why
			}
			return reports.Unsupported, fmt.Sprintf("nobody plays the %s in this cluster", role)
		}
	}
	for _, s := range q.Services {
		if _, ok := p.services[s]; !ok {
			return reports.Unsupported, fmt.Sprintf("there is no Service %s in this cluster", s)
		}
	}
	return "", ""
}

// setMissing keeps why this cluster has nobody for the role.
func (p *players) setMissing(role world.Role, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.missing[role] = why
}

// setRefused keeps why the cluster refuses the pod that should play the part.
func (p *players) setRefused(part world.Part, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[roleAt{part.Role, part.From}] = why
}

// setBroken keeps why the pod that should play the part did not start.
func (p *players) setBroken(part world.Part, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken[roleAt{part.Role, part.From}] = why
}

// setRoute keeps the way to an agent.
func (p *players) setRoute(a *probe.Agent, r *route) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.routes[a] = r
}

// setService gives a Service its part.
func (p *players) setService(made *corev1.Service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.services[world.Service(made.Name)] = requirement.ServiceSeen{Service: made}
}

// addEnd gives an end its role, as it is seen from a worker or, with "", from everywhere.
func (p *players) addEnd(end *requirement.End, from string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.agents, end.Agent) {
		p.agents = append(p.agents, end.Agent)
	}
	at := roleAt{end.Role, from}
	p.ends[at] = append(p.ends[at], end)
	slices.SortFunc(p.ends[at], func(a, b *requirement.End) int { return strings.Compare(a.Node, b.Node) })
}

// why nobody plays the role: it could not be planned, was refused, or did not start; "" where nothing stood in its way.
func (p *players) why(role world.Role) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at(role, "")
	return p.missing[role] + p.refused[at] + p.broken[at]
}

// size is how many agents there are.
func (p *players) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.agents)
}

func (p *players) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.agents {
		if a.Close() != nil {
			continue // the stream ends with its pod
		}
	}
}
