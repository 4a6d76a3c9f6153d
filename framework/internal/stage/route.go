package stage

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// route is the way to an agent: an exec through the API server and its node's kubelet, or the agent's control port by a relay in a pod
// of another node. A stream that brought nothing has the next one tried by the other way.
type route struct {
	p    *players
	exec probe.Dialer
	node string
	ips  []netip.Addr
	name string // of the agent at its control port; "" where it has none
	port int
	path string // of a unix socket in the container; "" is the agent

	mu     sync.Mutex
	barren int // streams in a row that brought nothing
	tried  int // relays
}

// routeTo is the way to the agent in a pod's container, or to a unix socket there.
func (p *players) routeTo(pod *corev1.Pod, container, socket string, ips []netip.Addr) *route {
	command := relay
	if socket != "" {
		command = append(slices.Clone(relay), socket)
	}
	r := &route{p: p, node: pod.Spec.NodeName, ips: ips, path: socket,
		exec: probe.Exec(p.config, pod.Namespace, pod.Name, container, command...)}
	if name, port, ok := world.Control(pod, container); ok {
		r.name, r.port = name, port
	}
	return r
}

func (r *route) Dial(ctx context.Context) (io.ReadWriteCloser, error) {
	r.mu.Lock()
	way := r.exec
	if r.p.detoured(r.node) != (r.barren%2 == 1) {
		if relay := r.relay(); relay != nil {
			way = relay
		}
	}
	r.mu.Unlock()
	stream, err := way.Dial(ctx)
	if err != nil {
		r.ended(false)
		return nil, err
	}
	return &fruitful{ReadWriteCloser: stream, ended: r.ended}, nil
}

// ended notes whether a stream brought anything.
func (r *route) ended(fruit bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.barren++
	if fruit {
		r.barren = 0
	}
}

// relay is the next of the relays that there are, over each of the pod's addresses; nil where there is none.
func (r *route) relay() probe.Dialer {
	siblings := r.p.siblings(r.node)
	if r.name == "" || len(siblings) == 0 || len(r.ips) == 0 {
		return nil
	}
	sibling, ip := siblings[r.tried%len(siblings)], r.ips[r.tried/len(siblings)%len(r.ips)]
	r.tried++
	to := netip.AddrPortFrom(ip, uint16(r.port)).String()
	return probe.Relayed(probe.Exec(r.p.config, sibling.Namespace, sibling.Pod, sibling.Container, "/agent", "relay", "--to", to),
		probe.Peer{Suite: r.p.suite, Key: r.p.plan.Key, Name: r.name, Path: r.path})
}

// fruitful notes whether a stream has brought anything by its end.
type fruitful struct {
	io.ReadWriteCloser
	once  sync.Once
	mu    sync.Mutex
	fruit bool
	ended func(fruit bool)
}

func (f *fruitful) Read(b []byte) (int, error) {
	n, err := f.ReadWriteCloser.Read(b)
	if n > 0 {
		f.mu.Lock()
		f.fruit = true
		f.mu.Unlock()
	}
	return n, err
}

func (f *fruitful) Close() error {
	f.once.Do(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ended(f.fruit)
	})
	return f.ReadWriteCloser.Close()
}

// Dialer opens a stream to a command in the end's container: by an exec, or where the end's node answers none and the command is a
// relay to a unix socket, by the agent's control port.
func (p *players) Dialer(end *requirement.End, command ...string) probe.Dialer {
	if p.detoured(end.Node) && len(command) > 1 && command[1] == "host" {
		return unreachable("a program of the node's own runs by an exec, and " + end.Node + " answers none")
	}
	if socket, ok := relayed(command); ok && p.detoured(end.Node) {
		p.mu.Lock()
		r := p.routes[end.Agent]
		p.mu.Unlock()
		if r != nil {
			return &route{p: p, exec: probe.Exec(p.config, end.Namespace, end.Pod, end.Container, command...),
				node: r.node, ips: r.ips, name: r.name, port: r.port, path: socket}
		}
	}
	return probe.Exec(p.config, end.Namespace, end.Pod, end.Container, command...)
}

// unreachable is a way that is known to lead nowhere, with the reason.
type unreachable string

func (u unreachable) Dial(context.Context) (io.ReadWriteCloser, error) {
	return nil, errors.New(string(u))
}

// relayed is the unix socket that the command relays to.
func relayed(command []string) (socket string, ok bool) {
	if len(command) != len(relay)+1 || !slices.Equal(command[:len(relay)], relay) || !path.IsAbs(command[len(relay)]) {
		return "", false
	}
	return command[len(relay)], true
}

// detour has the agents of a node reached by relays from now on.
func (p *players) detour(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detours[node] = true
}

func (p *players) detoured(node string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.detours[node]
}

// siblings are ends on the other nodes that a relay can run in, one a node.
func (p *players) siblings(node string) (all []*requirement.End) {
	p.mu.Lock()
	defer p.mu.Unlock()
	byNode := map[string]*requirement.End{}
	for _, ends := range p.ends {
		for _, end := range ends {
			if end.Pod == "" || end.Node == node || p.detours[end.Node] {
				continue
			}
			if other := byNode[end.Node]; other == nil || before(end, other) {
				byNode[end.Node] = end
			}
		}
	}
	for _, end := range byNode {
		all = append(all, end)
	}
	slices.SortFunc(all, func(a, b *requirement.End) int { return strings.Compare(a.Node, b.Node) })
	return all
}
