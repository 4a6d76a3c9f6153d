package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

// crossNode is the way of a request from pod a on n1 to pod b on n2 and of its answer, as path makes it.
func crossNode() *way {
	p := &way{}
	for _, at := range []place{{name: "n1"}, {name: "pod a", netns: 1}, {name: "n2"}, {name: "pod b", netns: 2}} {
		at.agent = &requirement.End{Node: at.name}
		p.add(at)
	}
	for _, answer := range []bool{false, true} {
		ends := []int{1, 0, 2, 3}
		if answer {
			ends = []int{3, 2, 0, 1}
		}
		p.leave(ends[0], answer)
		p.cross(ends[1], answer)
		p.cross(ends[2], answer)
		p.arrive(ends[3], answer)
	}
	return p
}

func TestTellWhereItWasLost(t *testing.T) {
	for name, c := range map[string]struct {
		counts   []uint64 // the rest is 0
		culprits []string
		want     string
	}{
		"nowhere":           {nil, nil, "no packet of it was seen at all"},
		"in the client":     {[]uint64{1}, nil, "the request is sent by pod a (1 packet) and is lost there: it never leaves pod a"},
		"on the first node": {[]uint64{2, 2, 2}, []string{"n1: a rule"}, "the request reaches n1 (2 packets) and is lost there: it never leaves n1; n1: a rule"},
		"between the nodes": {[]uint64{2, 2, 2, 2}, nil, "the request leaves n1 (2 packets) and is lost before it reaches n2"},
		"on the second node, past hooks that a bridge passes by": {[]uint64{2, 2, 0, 0, 2}, nil,
			"the request reaches n2 (2 packets) and is lost there: it never leaves n2"},
		"in the server":            {[]uint64{1, 1, 1, 1, 1, 1, 1, 1}, nil, "the request is delivered in pod b (1 packet) and nothing answers there"},
		"the answer, on its way":   {[]uint64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, nil, "the answer leaves n2 (1 packet) and is lost before it reaches n1"},
		"nowhere: all of it comes": {[]uint64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := crossNode()
			counts := append(c.counts, make([]uint64, len(p.steps)-len(c.counts))...)
			require.Equal(t, c.want, whereLost(p, locate(p, counts), counts, c.culprits))
		})
	}
}

func TestRewritten(t *testing.T) {
	p := crossNode()
	p.steps = p.steps[:8]
	all, own := []uint64{1, 1, 1, 1, 1, 1, 1, 1}, []uint64{1, 1, 1, 0, 0, 0, 0, 0}
	require.Equal(t, "the client's own address 10.0.0.1 is gone when the request leaves n1, and still there when it reaches n1",
		rewritten(p, "10.0.0.1", own, all, func(string, ...any) {}))
	require.Empty(t, rewritten(p, "10.0.0.1", all, all, func(string, ...any) {}))
}

func TestWayOf(t *testing.T) {
	for want, w := range map[string]wire.RouteLookup{
		"n1 routes 10.0.0.2 by veth1": {To: "10.0.0.2", Device: "veth1"},
		"n1 routes 10.0.0.2 via 10.9.0.1 by eth0 (neighbour 10.9.0.1 at 0a:00:00:00:00:01, REACHABLE)": {To: "10.0.0.2", Via: "10.9.0.1", Device: "eth0", State: "REACHABLE", Address: "0a:00:00:00:00:01"},
		"n1 routes 10.0.0.2 via 10.9.0.1 by eth0, where its neighbour table has 10.9.0.1 as FAILED":    {To: "10.0.0.2", Via: "10.9.0.1", Device: "eth0", State: "FAILED"},
		"n1 has a route of type blackhole to 10.0.0.2":                                                 {To: "10.0.0.2", Kind: "blackhole"},
		"n1 has no route to 10.0.0.2 (network is unreachable)":                                         {To: "10.0.0.2", Errno: wire.Errno{Class: wire.Unreachable, Text: "network is unreachable"}},
	} {
		require.Equal(t, want, WayOf("n1", w))
	}
}

func TestMoved(t *testing.T) {
	before := "*filter\n:FORWARD DROP [1:60]\n:INPUT ACCEPT [5:9]\n:OUTPUT DROP [7:9]\n[1:60] -A FORWARD -p tcp -j DROP\n[5:1] -A FORWARD -j ACCEPT\n[0:0] -A INPUT -j REJECT --reject-with icmp-port-unreachable\n"
	after := "*filter\n:FORWARD DROP [3:180]\n:INPUT ACCEPT [9:9]\n:OUTPUT DROP [7:9]\n[4:240] -A FORWARD -p tcp -j DROP\n[9:1] -A FORWARD -j ACCEPT\n[0:0] -A INPUT -j REJECT --reject-with icmp-port-unreachable\n[2:9] -A NEW -j DROP\n"
	require.Equal(t, []string{"the policy DROP of chain FORWARD in iptables' table filter",
		`the iptables rule "-A FORWARD -p tcp -j DROP" of table filter`, `the iptables rule "-A NEW -j DROP" of table filter`}, moved(before, after))
}

func TestParseCounters(t *testing.T) {
	into := map[string]uint64{}
	parseCounters("Ip: Forwarding InNoRoutes\nIp: 1 7\nTcpExt: IPReversePathFilter X\nTcpExt: 3 -1\n", into)
	require.Equal(t, map[string]uint64{"Ip.Forwarding": 1, "Ip.InNoRoutes": 7, "TcpExt.IPReversePathFilter": 3}, into)
}

func FuzzParseCounters(f *testing.F) {
	f.Add("Ip: A B\nIp: 1 2\n")
	f.Fuzz(func(_ *testing.T, text string) { parseCounters(text, map[string]uint64{}) })
}

func FuzzMoved(f *testing.F) {
	f.Add("[0:0] -A X -j DROP", "[1:0] -A X -j DROP")
	f.Fuzz(func(_ *testing.T, before, after string) { moved(before, after) })
}
