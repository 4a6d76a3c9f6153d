package diagnose

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Priorities that see a packet before everything else does with it at a hook, and after.
const (
	first = -450 // before raw (-300) and defragmentation (-400)
	last  = 350  // after the translation of sources (100) and conntrack's helpers (300)
)

// place is a network namespace that packets pass, and who can put rules there.
type place struct {
	name  string // "worker", "pod near-1"
	agent *requirement.End
	netns uint64           // 0 is the agent's own, the node's
	own   *requirement.End // whose it is, where it is a pod's
}

// step is one point of the way, in one direction.
type step struct {
	place  int
	hook   string
	answer bool
	words  string // completes "the request ..."
}

// way is a path over places.
type way struct {
	places []place
	steps  []step
	to     *requirement.End // nil where nobody in particular is dialled
}

// path is the way from the client to the server and back. Where no agent is on a node its steps are left out; nil is
// where nobody can look.
func (w *walk) path(ctx context.Context, client, server *requirement.End) *way {
	p := &way{to: server}
	from, fromNode := p.end(ctx, w.env, client)
	var to, toNode = -1, -1
	if server != nil {
		to, toNode = p.end(ctx, w.env, server)
	}
	if len(p.places) == 0 {
		return nil
	}
	forth := func(answer bool, from, fromNode, to, toNode int) {
		p.leave(from, answer)
		if fromNode >= 0 && fromNode != from {
			p.cross(fromNode, answer)
		}
		if toNode >= 0 && toNode != fromNode && toNode != to {
			p.cross(toNode, answer)
		}
		p.arrive(to, answer)
	}
	forth(false, from, fromNode, to, toNode)
	if server != nil {
		forth(true, to, toNode, from, fromNode)
	}
	return p
}

// end adds the end's own network namespace and its node; -1 is one that can't be looked into.
func (p *way) end(ctx context.Context, env *requirement.Env, end *requirement.End) (own, node int) {
	own, node = -1, -1
	for _, agent := range env.Players.Ends(world.Node) {
		if agent.Node != end.Node || end.Pod == "" {
			continue
		}
		node = p.add(place{name: agent.Node, agent: agent})
		if end.HostNetwork {
			return node, node
		}
		if end.Agent == nil {
			continue // a component's pod
		}
		if id, err := end.Identity(ctx); err == nil && id.Namespaces["net"] != 0 {
			own = p.add(place{name: "pod " + end.Pod, agent: agent, netns: id.Namespaces["net"], own: end})
		}
	}
	return own, node
}

func (p *way) add(new place) int {
	for i, old := range p.places {
		if old.agent.Node == new.agent.Node && old.netns == new.netns {
			return i
		}
	}
	p.places = append(p.places, new)
	return len(p.places) - 1
}

func (p *way) leave(at int, answer bool) {
	if at >= 0 {
		p.steps = append(p.steps, step{at, "output", answer, "is sent by " + p.places[at].name},
			step{at, "postrouting", answer, "leaves " + p.places[at].name})
	}
}

func (p *way) cross(at int, answer bool) {
	p.steps = append(p.steps, step{at, "prerouting", answer, "reaches " + p.places[at].name},
		step{at, "postrouting", answer, "leaves " + p.places[at].name})
}

func (p *way) arrive(at int, answer bool) {
	if at >= 0 {
		p.steps = append(p.steps, step{at, "prerouting", answer, "reaches " + p.places[at].name},
			step{at, "input", answer, "is delivered in " + p.places[at].name})
	}
}

// counting is the rule of a step that counts what match matches there: the first at the hooks that a packet comes in by,
// the last at those that it goes out by.
func (s step) counting(match wire.Rule) wire.Rule {
	match.Hook, match.Priority, match.Do = s.hook, last, "count"
	if s.comesIn() {
		match.Priority = first
	}
	return match
}

func (s step) comesIn() bool { return s.hook == "prerouting" || s.hook == "output" }
