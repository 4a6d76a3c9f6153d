package probebench

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Pairs is what every client saw of every server, over both protocols.
type Pairs struct {
	names []string
	nodes []string
	// cells[client][server][protocol] is how the exchange ended; protocols are TCP and UDP.
	cells [][][2]wire.Class
}

var pairProtocols = [2]string{"tcp", "udp"}

// inFlight is how many exchanges one client makes at once: enough to keep two cores busy, too few for a
// backlog of connections at one server.
const inFlight = 4

// AllPairs has everyone talk to everyone else.
func AllPairs(ctx context.Context, ends []*requirement.End) (*Pairs, error) {
	m := &Pairs{cells: make([][][2]wire.Class, len(ends))}
	group, ctx := errgroup.WithContext(ctx)
	for i, client := range ends {
		m.names, m.nodes = append(m.names, client.Pod), append(m.nodes, client.Node)
		m.cells[i] = make([][2]wire.Class, len(ends))
		own, ctx := errgroup.WithContext(ctx)
		own.SetLimit(inFlight)
		group.Go(func() error {
			for k := range ends {
				j := (i + k) % len(ends) // not everyone begins with the same server
				if i == j {
					continue
				}
				for p, protocol := range pairProtocols {
					own.Go(func() error {
						got, err := client.Connect(ctx, wire.Connect{Network: protocol, Timeout: 3000,
							Address: requirement.At(ends[j].IPs[0], world.TargetPort)})
						if err != nil {
							return fmt.Errorf("%s: %w", client.Pod, err)
						}
						seen := got.Seen[0]
						m.cells[i][j][p] = seen.Class
						if seen.Ok() && (seen.Witness == nil || seen.Witness.Who != ends[j].Pod) {
							m.cells[i][j][p] = wire.Other
						}
						return nil
					})
				}
			}
			return own.Wait()
		})
	}
	return m, group.Wait()
}

// Tried is how many exchanges there were.
func (m *Pairs) Tried() int { return len(m.names) * (len(m.names) - 1) * len(pairProtocols) }

// Broken is how many of them failed.
func (m *Pairs) Broken() (n int) {
	for _, row := range m.cells {
		for _, cell := range row {
			for _, class := range cell {
				if class != wire.OK {
					n++
				}
			}
		}
	}
	return n
}

// String draws it: a row for each client, a column for each server, sorted by node.
func (m *Pairs) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "all ordered pairs of %d pods: . both answered, t no TCP, u no UDP, X neither; %d of %d exchanges failed\n",
		len(m.names), m.Broken(), m.Tried())
	width := 0
	for _, name := range m.names {
		width = max(width, len(name))
	}
	node := ""
	for i, row := range m.cells {
		if m.nodes[i] != node {
			node = m.nodes[i]
			fmt.Fprintf(&b, "  %s\n", node)
		}
		fmt.Fprintf(&b, "    %-*s ", width, m.names[i])
		for j, cell := range row {
			if j > 0 && m.nodes[j] != m.nodes[j-1] {
				b.WriteByte('|')
			}
			b.WriteByte(mark(i == j, cell))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func mark(self bool, cell [2]wire.Class) byte {
	tcp, udp := cell[0] == wire.OK, cell[1] == wire.OK
	switch {
	case self:
		return '\\'
	case tcp && udp:
		return '.'
	case udp:
		return 't'
	case tcp:
		return 'u'
	}
	return 'X'
}
