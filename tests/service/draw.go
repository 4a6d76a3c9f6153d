package service

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// drawn is who answered so many new connections (or datagrams from new sockets) of one client.
type drawn struct {
	client   *requirement.End
	target   string
	protocol string
	count    int
	peers    map[string]int // by the hostname of who answered
	tally    map[wire.Class]int
}

// drawEndpoints has the client make new connections to the Service, many at once, and counts who answers.
func drawEndpoints(ctx context.Context, env *requirement.Env, client *requirement.End, service requirement.ServiceSeen, protocol string, count int) (drawn, error) {
	ip, err := virtualIPOf(env, service)
	if err != nil {
		return drawn{}, err
	}
	d := drawn{client: client, target: requirement.At(ip, world.ServicePort), protocol: protocol, count: count}
	// All at once up to a hundred: what is not answered costs one attempt's time, and not one for each.
	got, err := client.Connect(ctx, wire.Connect{Network: protocol, Address: d.target, Count: count, Parallel: 100, Brief: true,
		Timeout: int(env.Attempt / time.Millisecond)})
	if err != nil {
		return d, fmt.Errorf("asking %s for %d connections to %s: %w", client, count, d.target, err)
	}
	d.peers, d.tally = got.Peers, got.Tally
	return d, nil
}

// of is how often each of the ends, which are ordinary pods, answered.
func (d drawn) of(ends []*requirement.End) (counts []int) {
	for _, end := range ends {
		counts = append(counts, d.peers[end.Pod])
	}
	return counts
}

// shares says who answered how often, in words.
func (d drawn) shares() string {
	var parts []string
	for _, who := range slices.Sorted(maps.Keys(d.peers)) {
		parts = append(parts, fmt.Sprintf("%s %d", who, d.peers[who]))
	}
	if len(parts) == 0 {
		return "nobody answering"
	}
	return strings.Join(parts, ", ")
}

// failure is the start of one about what was drawn.
func (d drawn) failure(reason requirement.Reason, expected, observed string) *requirement.Failure {
	f := &requirement.Failure{Reason: reason, From: d.client, Target: d.target, Protocol: d.protocol, Expected: expected, Observed: observed}
	if d.client.Pod != "" {
		f.Again = fmt.Sprintf("kubectl exec -n %s %s -c %s -- /agent dial %s %s   (again and again)", d.client.Namespace, d.client.Pod,
			d.client.Container, d.protocol, d.target)
	}
	return f
}

// among says whether all were answered, and each by one of the ends.
func (d drawn) among(ends []*requirement.End) error {
	rest := d.count
	for _, n := range d.of(ends) {
		rest -= n
	}
	switch {
	case rest == 0:
		return nil
	case d.tally[wire.OK] == d.count:
		return d.failure(requirement.WrongPeer, fmt.Sprintf("all %d connections to be answered by %s", d.count, names(ends)), d.shares())
	}
	for _, class := range slices.Sorted(maps.Keys(d.tally)) {
		if class != wire.OK {
			f := d.failure(requirement.ReasonOf(wire.Errno{Class: class}), fmt.Sprintf("all %d connections to be answered", d.count),
				fmt.Sprintf("%d that ended as %q, and %s", d.tally[class], class, d.shares()))
			for i, n := range d.of(ends) {
				if n == 0 {
					f.To = ends[i]
					f.Observed += "; never " + ends[i].Where()
					break
				}
			}
			return f
		}
	}
	return fmt.Errorf("%s reports %d of %d connections to %s", d.client, d.tally[wire.OK], d.count, d.target)
}

func names(ends []*requirement.End) string {
	var all []string
	for _, end := range ends {
		all = append(all, end.Where())
	}
	return strings.Join(all, ", ")
}

// onNode are those of the ends on the node.
func onNode(ends []*requirement.End, node string) (local []*requirement.End) {
	for _, end := range ends {
		if end.Node == node {
			local = append(local, end)
		}
	}
	return local
}

// replicas are the endpoints of Replicas and its like.
func replicas(env *requirement.Env) []*requirement.End { return env.Roles(world.Replica) }
