package stage

import (
	"maps"
	"slices"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// everyNode are the roles that are played on every node.
var everyNode = []world.Role{world.Everywhere, world.Node}

// NodeFindings are the nodes that are not judged like the others, and why.
func (p *players) NodeFindings() []requirement.NodeFinding {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.findings)
}

// findMore adds a finding, in the order of the nodes.
func (p *players) findMore(f requirement.NodeFinding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.findings = withFinding(p.findings, f)
}

// replan takes another plan, for which nobody but the host outside the cluster has a role yet.
func (p *players) replan(plan world.Plan, found []requirement.NodeFinding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan, p.findings = plan, found
	outside := p.ends[roleAt{world.Outside, ""}]
	for _, a := range p.agents {
		if slices.ContainsFunc(outside, func(e *requirement.End) bool { return e.Agent == a }) {
			continue
		}
		go func() { _ = a.Close() }() // its pod may be gone, and nobody waits for it
	}
	p.agents = nil
	for _, end := range outside {
		p.agents = append(p.agents, end.Agent)
	}
	p.ends = map[roleAt][]*requirement.End{{world.Outside, ""}: outside}
	clear(p.near)
	clear(p.missing)
	clear(p.short)
	clear(p.refused)
	clear(p.broken)
	clear(p.detours)
	clear(p.routes)
}

// setShort keeps why nobody is left for the roles that a larger plan has somebody for.
func (p *players) setShort(why string, larger, plan map[world.Role]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for role := range larger {
		if !plan[role] {
			p.short[role] = why
		}
	}
}

// setLate keeps why a pod did not start. Where it would have been one of every node, its node is named.
func (p *players) setLate(pod world.Pod, why string) {
	for _, part := range pod.Plays {
		p.setBroken(part, why)
	}
	p.lacks(world.NodeOf(pod.Object), why, pod.Plays)
}

// lacks names a node on which a pod of every node does not run, or is not reached.
func (p *players) lacks(node, why string, plays []world.Part) {
	if !slices.ContainsFunc(plays, func(part world.Part) bool { return slices.Contains(everyNode, part.Role) }) {
		return
	}
	for _, f := range p.NodeFindings() {
		if f.Node == node && f.LeftOut {
			return
		}
	}
	p.findMore(requirement.NodeFinding{Node: node, State: requirement.NodeLacksPods, Sick: true, LeftOut: true, Said: why})
}

// drop takes the end's roles from it: its agent can't be reached.
func (p *players) drop(end *requirement.End, why string) {
	why = end.Where() + " is not reached: " + why
	p.mu.Lock()
	var plays []world.Part
	for at, ends := range p.ends {
		left := slices.DeleteFunc(slices.Clone(ends), func(e *requirement.End) bool { return e.Agent == end.Agent })
		if len(left) < len(ends) {
			p.ends[at], p.broken[at] = left, why
			plays = append(plays, world.Part{Role: at.role, From: at.from})
		}
	}
	p.mu.Unlock()
	p.lacks(end.Node, why, plays)
}

// without says which nodes and pods the requirement is judged without, a sentence each.
func (p *players) without(q requirement.Requirement) (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	roles := append(slices.Clone(q.Roles), q.Wants...)
	ofNodes := q.PerNode || slices.ContainsFunc(roles, func(r world.Role) bool { return slices.Contains(everyNode, r) })
	for _, f := range p.findings {
		if ofNodes && f.Sick && f.LeftOut {
			all = append(all, "judged without "+f.String())
		}
	}
	for at, why := range p.broken {
		if slices.Contains(roles, at.role) && !slices.Contains(everyNode, at.role) && len(p.ends[at]) > 0 {
			all = append(all, "judged without "+why)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// perNode is an end of an ordinary pod on each node, or of another pod where there is none.
func (p *players) perNode() (all []*requirement.End) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := map[string]*requirement.End{}
	for _, ends := range p.ends {
		for _, end := range ends {
			if other := first[end.Node]; end.Pod != "" && (other == nil || before(end, other)) {
				first[end.Node] = end
			}
		}
	}
	for _, node := range slices.Sorted(maps.Keys(first)) {
		all = append(all, first[node])
	}
	return all
}

// on are the ends on a node, one for each agent, those of ordinary pods first.
func (p *players) on(node string) (all []*requirement.End) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ends := range p.ends {
		for _, end := range ends {
			known := slices.ContainsFunc(all, func(e *requirement.End) bool { return e.Agent == end.Agent })
			if end.Pod != "" && end.Node == node && !known {
				all = append(all, end)
			}
		}
	}
	slices.SortFunc(all, func(a, b *requirement.End) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	return all
}

// before puts ends of ordinary pods before those in the node's network, and then goes by names.
func before(a, b *requirement.End) bool {
	if a.HostNetwork != b.HostNetwork {
		return b.HostNetwork
	}
	if a.Pod != b.Pod {
		return a.Pod < b.Pod
	}
	return a.Container < b.Container
}
