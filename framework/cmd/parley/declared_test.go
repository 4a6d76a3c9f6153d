package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests"
)

// Every check and every control asks for no role and no Service that its requirement does not declare, as far as it comes in a
// world where everybody answers and nothing happens. What comes later in a check shows on a cluster: Env.Role panics.
func TestChecksDeclareWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	players := newFakePlayers()
	for _, q := range tests.All() {
		t.Run(q.ID, func(t *testing.T) {
			t.Parallel()
			with := *players
			kube, config, clusterScoped := fakeKube(t)
			env := func() *requirement.Env {
				return &requirement.Env{Requirement: &q, Kube: kube, Config: config, Family: corev1.IPv4Protocol, Attempt: 10 * time.Millisecond,
					Players: &with, World: with.plan, Base: 20000}
			}
			if len(q.Wants) > 0 {
				without := env()
				without.Players = &fakePlayers{plan: with.plan, absent: q.Wants, mu: with.mu, ends: with.ends, services: with.services, names: with.names}
				declared(t, q, without, q.Check)
			}
			declared(t, q, env(), q.Check)
			if q.ClusterScoped == "" {
				require.Empty(t, clusterScoped(), "%s makes these outside the run's namespaces: say so in ClusterScoped", q.ID)
			}
			for _, c := range q.Controls() {
				if v := c.Variant; v != nil {
					e := env()
					if v.Make != nil {
						declared(t, q, e, func(ctx context.Context, e *requirement.Env) error {
							_, err := v.Make(ctx, e)
							return err
						})
						if v.ClusterScoped == "" && q.ClusterScoped == "" {
							require.Empty(t, clusterScoped(), "the control of %s makes these outside the run's namespaces: say so in ClusterScoped", q.ID)
						}
					}
					e.Variant = v
					declared(t, q, e, q.Check)
					if v.Given != nil {
						declared(t, q, e, v.Given)
					}
					continue
				}
				for _, point := range c.Fault.Points {
					e := env()
					declared(t, q, e, func(ctx context.Context, e *requirement.Env) error {
						_, err := point.Inject(ctx, e)
						return err
					})
					declared(t, q, e, q.Check) // which injects what waits for its middle
				}
			}
		})
	}
}

// declared fails for what is not declared, and for what is only wanted and can't be done without. Anything else that becomes of it is of no interest: nothing is there to be judged.
func declared(t *testing.T, q requirement.Requirement, env *requirement.Env, do func(context.Context, *requirement.Env) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	defer func() {
		said := fmt.Sprint(recover())
		if strings.HasPrefix(said, q.ID+" asks for") || strings.HasPrefix(said, "nobody plays") {
			t.Error(said)
		}
		_ = env.CleanUp(ctx) // it removes nothing that there is
	}()
	_ = do(ctx, env)
}

// fakePlayers play every role of a world that is deployed nowhere.
type fakePlayers struct {
	plan     world.Plan
	absent   []world.Role // nobody plays these
	mu       *sync.Mutex
	ends     map[world.Role][]*requirement.End
	services map[world.Service]requirement.ServiceSeen
	names    map[netip.Addr]string           // of whom the addresses are
	dialled  func(address string) wire.Errno // how a dial ends, nil: all are answered
}

func newFakePlayers() *fakePlayers {
	p := &fakePlayers{mu: &sync.Mutex{}, ends: map[world.Role][]*requirement.End{}, services: map[world.Service]requirement.ServiceSeen{}, names: map[netip.Addr]string{}}
	p.plan = world.Plan{Prefix: "parley-x", Labels: map[string]string{requirement.RunLabel: "x"}, Image: "agent", Reference: "reference", GatewayAPI: true,
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/26")}, Workers: []string{"n1", "n2"}, Nodes: []string{"n0", "n1", "n2"},
		Tolerate: true, ClusterDNS: "10.96.0.10", Domain: "cluster.local"}
	for _, pod := range p.plan.Pods(everyRole()) {
		for _, end := range p.endsOf(pod.Object, pod.Plays) {
			if slices.ContainsFunc(pod.Plays, func(part world.Part) bool { return part.Role == end.Role && part.From != "" && part.From != "n1" }) {
				continue // the first worker's play what is near
			}
			p.ends[end.Role] = append(p.ends[end.Role], end)
		}
	}
	p.ends[world.Outside] = []*requirement.End{{Agent: p.agent("outside"), Role: world.Outside, IPs: []netip.Addr{netip.MustParseAddr("172.18.0.9")}}}
	for i, s := range p.plan.Services() {
		ip := fmt.Sprintf("10.96.1.%d", i)
		s.Spec.ClusterIP, s.Spec.ClusterIPs = ip, []string{ip}
		for n := range s.Spec.Ports {
			s.Spec.Ports[n].NodePort = int32(30000 + i)
		}
		p.services[world.Service(s.Name)] = requirement.ServiceSeen{Service: s}
	}
	return p
}

// everyRole finds the roles by asking for those of all pods.
func everyRole() world.Roles {
	roles := world.Roles{}
	for _, q := range tests.All() {
		for _, r := range append(append([]world.Role{world.Node, world.Liar}, q.Roles...), q.Wants...) {
			roles.Want(world.PerNode, r)
		}
		for _, c := range q.Controls() {
			if v := c.Variant; v != nil {
				for _, r := range v.Roles {
					roles.Want(world.PerNode, r)
				}
			}
		}
	}
	return roles
}

func (p *fakePlayers) endsOf(pod *corev1.Pod, plays []world.Part) (ends []*requirement.End) {
	p.mu.Lock()
	ip := netip.AddrFrom4([4]byte{10, 244, byte(len(p.names) >> 8), byte(len(p.names))})
	p.names[ip] = pod.Name
	p.mu.Unlock()
	node := pod.Spec.NodeName
	if affinity := pod.Spec.Affinity; affinity != nil {
		node = affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
	}
	for _, part := range plays {
		ends = append(ends, &requirement.End{Agent: p.agent(pod.Name), Role: part.Role, Namespace: pod.Namespace, Pod: pod.Name,
			Container: part.Container, Node: node, IPs: []netip.Addr{ip}, HostNetwork: pod.Spec.HostNetwork})
	}
	return ends
}

// agent is one for which everything works: whoever is dialled answers, and what is asked for is there and empty.
func (p *fakePlayers) agent(name string) *probe.Agent {
	return probe.New(name, fakeagent.Answer(func(op wire.Op, args json.RawMessage) any {
		switch op {
		case wire.OpListen:
			return wire.Listening{Handle: "server"}
		case wire.OpIdentity:
			return wire.Identity{Hostname: name, Namespaces: map[string]uint64{"net": 1, "ipc": 2, "uts": 3, "pid": 4}}
		case wire.OpConnect:
			var c wire.Connect
			if json.Unmarshal(args, &c) != nil {
				return nil
			}
			if p.dialled != nil {
				if errno := p.dialled(c.Address); !errno.Ok() {
					return wire.Connected{Seen: []wire.Exchange{{Errno: errno, Step: "dial"}}, Tally: map[wire.Class]int{errno.Class: 1}}
				}
			}
			seen := wire.Connected{Tally: map[wire.Class]int{wire.OK: max(1, c.Count)}, Peers: map[string]int{}}
			for range min(100, max(1, c.Count)) {
				seen.Seen = append(seen.Seen, wire.Exchange{Same: true, Remote: c.Address, Local: c.Source, Handle: "connection",
					Witness: &wire.Witness{Who: p.at(c.Address), Local: c.Address, Remote: c.Source}})
			}
			return seen
		}
		return struct{}{}
	}))
}

func (p *fakePlayers) at(address string) string {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.names[to.Addr()]
}

func (p *fakePlayers) Ends(r world.Role) []*requirement.End {
	if slices.Contains(p.absent, r) {
		return nil
	}
	return p.ends[r]
}

func (p *fakePlayers) EndsFrom(_ string, r world.Role) []*requirement.End { return p.Ends(r) }

func (p *fakePlayers) Service(s world.Service) (requirement.ServiceSeen, bool) {
	seen, ok := p.services[s]
	return seen, ok
}

func (p *fakePlayers) Dialer(*requirement.End, ...string) probe.Dialer {
	return fakeagent.Answer(func(wire.Op, json.RawMessage) any { return struct{}{} })
}

func (p *fakePlayers) Start(_ context.Context, pod *corev1.Pod, _ func(*corev1.Pod) bool) (*requirement.Started, error) {
	pod = pod.DeepCopy()
	pod.Name, pod.UID, pod.Status.Phase = pod.Name+pod.GenerateName+"x", "uid", corev1.PodRunning
	var plays []world.Part
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		plays = append(plays, world.Part{Role: "own", Container: c.Name})
	}
	started := &requirement.Started{Pod: pod, Ends: map[string]*requirement.End{}, Remove: func(context.Context) error { return nil }}
	for _, end := range p.endsOf(pod, plays) {
		started.Ends[end.Container] = end
		pod.Spec.NodeName, pod.Status.PodIP, pod.Status.PodIPs = end.Node, end.IPs[0].String(), []corev1.PodIP{{IP: end.IPs[0].String()}}
	}
	return started, nil
}

func (p *fakePlayers) Join(pod *corev1.Pod, container string) (*requirement.End, error) {
	return p.endsOf(pod, []world.Part{{Role: "own", Container: container}})[0], nil
}

func (p *fakePlayers) MarkAbsent(requirement.Feature, string) {}

func (p *fakePlayers) WhyAbsent(requirement.Feature) string { return "" }

func (p *fakePlayers) NodeFindings() []requirement.NodeFinding { return nil }

// fakeKube is an API server that makes what it is given and has nothing.
func fakeKube(t *testing.T) (kube kubernetes.Interface, config *rest.Config, clusterScoped func() []string) {
	t.Helper()
	var mu sync.Mutex
	var made []string
	config = &rest.Config{Host: "https://192.0.2.1", QPS: -1, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		answer := &http.Response{StatusCode: http.StatusNotFound, Request: r, Header: http.Header{"Content-Type": {"application/json"}}}
		body := []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
		if r.Body != nil && r.Method == http.MethodPost {
			// Reviews are questions: nothing is made by them.
			if !strings.Contains(r.URL.Path, "/namespaces/") && !strings.HasSuffix(r.URL.Path, "reviews") {
				mu.Lock()
				made = append(made, r.URL.Path)
				mu.Unlock()
			}
			sent, err := io.ReadAll(r.Body)
			var object map[string]any
			if err == nil && json.Unmarshal(sent, &object) == nil {
				if meta, ok := object["metadata"].(map[string]any); ok && meta["name"] == nil {
					meta["name"] = fmt.Sprint(meta["generateName"], "x")
				}
				if spec, ok := object["spec"].(map[string]any); ok && object["kind"] == "Service" {
					spec["clusterIP"], spec["clusterIPs"] = "10.96.2.1", []string{"10.96.2.1"}
				}
				answer.StatusCode = http.StatusCreated
				body, err = json.Marshal(object)
			}
			if err != nil {
				return nil, err
			}
		}
		answer.Body = io.NopCloser(bytes.NewReader(body))
		return answer, nil
	})}
	config.ContentType = "application/json"
	kube, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return kube, config, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(made)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }
