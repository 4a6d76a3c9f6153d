package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// network is one of pretended pods, one on each node and one beside it.
type network struct {
	requirement.Players
	ends map[world.Role][]*requirement.End
	// lost says of the n-th packet from one node to another, in bytes of payload, whether it is lost; slow how many times longer what is
	// carried takes than elsewhere.
	lost func(from, to string, n, bytes int) bool
	slow func(from, to string) int

	mu      sync.Mutex
	sent    map[string]int
	arrived map[string]int
}

func (w *network) Ends(r world.Role) []*requirement.End               { return w.ends[r] }
func (w *network) EndsFrom(_ string, r world.Role) []*requirement.End { return w.ends[r] }
func (w *network) Service(world.Service) (requirement.ServiceSeen, bool) {
	return requirement.ServiceSeen{Service: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}}}, true
}

// passes says whether the next packet that way is not lost.
func (w *network) passes(from, to string, bytes int) bool {
	key := fmt.Sprint(from, to, bytes)
	w.sent[key]++
	return w.lost == nil || !w.lost(from, to, w.sent[key], bytes)
}

// exchange is one of the node's pod with that of the other; a lost SYN is sent again.
func (w *network) exchange(c wire.Connect, from, to, who string, got *wire.Connected) {
	x := wire.Exchange{Same: true, Witness: &wire.Witness{Who: who}}
	lost := wire.Errno{Class: wire.TimedOut, Text: "read: i/o timeout"}
	if c.Network == "tcp" {
		if !w.passes(from, to, c.Bytes) { // of a SYN, the one that is sent again is not lost
			x.SYNsAgain = 1
			got.SYNsAgain++
		}
	} else if w.passes(from, to, c.Bytes) {
		key := from + c.Address
		w.arrived[key]++
		if x.Witness.Nth = w.arrived[key]; !w.passes(to, from, 0) {
			x.Errno = lost
		}
	} else {
		x.Errno = lost
	}
	if x.Ok() {
		got.Arrived = max(got.Arrived, x.Witness.Nth)
		micros := int64(100 + c.Bytes/1000)
		if w.slow != nil {
			micros *= int64(w.slow(from, to))
		}
		got.Each = append(got.Each, micros)
	}
	got.Tally[x.Class]++
	x.Handle = cmp.Or(c.Reuse, c.Address)
	got.Seen = []wire.Exchange{x}
}

func (w *network) agent(t *testing.T, node, pod string, ip netip.Addr, where map[string][2]string) *requirement.End {
	agent := probe.New(pod, fakeagent.Answer(func(op wire.Op, args json.RawMessage) any {
		switch op {
		case wire.OpIdentity:
			return wire.Identity{Hostname: pod, Interfaces: []wire.Interface{{Name: "eth0", MTU: 1500, Addrs: []string{ip.String() + "/24"}}}}
		case wire.OpListen:
			return wire.Listening{Handle: "h"}
		case wire.OpConnect:
			var c wire.Connect
			if json.Unmarshal(args, &c) != nil {
				return nil
			}
			to := where[strings.Split(cmp.Or(c.Address, c.Reuse), ":")[0]]
			got := wire.Connected{Tally: map[wire.Class]int{}}
			w.mu.Lock()
			defer w.mu.Unlock()
			for n := range max(1, c.Count) {
				w.exchange(c, node, to[0], to[1], &got)
				if bad := n + 1 - got.Tally[wire.OK] + got.SYNsAgain; c.StopAfter > 0 && bad >= c.StopAfter {
					break
				}
			}
			return got
		}
		return wire.Closed{}
	}))
	t.Cleanup(func() { _ = agent.Close() })
	return &requirement.End{Agent: agent, Namespace: "ns", Pod: pod, Container: "c", Node: node, IPs: []netip.Addr{ip}}
}

// virtualIP leads to the second pod of the first node.
const virtualIP = "10.96.0.1"

func withVirtualIPs() *fake.Clientset {
	kube := fake.NewClientset()
	kube.PrependReactor("create", "services", func(a kubetesting.Action) (bool, runtime.Object, error) {
		made, ok := a.(kubetesting.CreateAction).GetObject().(*corev1.Service)
		if ok {
			made.Name, made.Spec.ClusterIPs = "own", []string{virtualIP}
		}
		return ok, made, nil
	})
	return kube
}

func newNetwork(t *testing.T, nodes ...string) *network {
	w := &network{ends: map[world.Role][]*requirement.End{}, sent: map[string]int{}, arrived: map[string]int{}}
	where := map[string][2]string{}
	for i, node := range nodes {
		for j, role := range []world.Role{world.Everywhere, world.Beside} {
			ip, pod := netip.AddrFrom4([4]byte{10, byte(j), 0, byte(i + 1)}), fmt.Sprintf("pod-%d-%d", i, j)
			where[ip.String()] = [2]string{node, pod}
			w.ends[role] = append(w.ends[role], w.agent(t, node, pod, ip, where))
		}
	}
	w.ends[world.WebNear], where[virtualIP] = w.ends[world.Beside][:1], where["10.1.0.1"]
	return w
}

// A path is judged by hundreds of exchanges: loss in one direction, of one size or of first SYNs is named with its nodes.
func TestPathsInNumbers(t *testing.T) {
	every := func(nth int, from, to string) func(string, string, int, int) bool {
		return func(f, t string, n, _ int) bool { return f == from && t == to && n%nth == 0 }
	}
	for name, c := range map[string]struct {
		id       string
		lost     func(from, to string, n, bytes int) bool
		slow     func(from, to string) int
		reason   requirement.Reason // "" holds
		from, to string
		says     string
	}{
		"whole":                   {id: "path/loss"},
		"one in 2,000":            {id: "path/loss", lost: every(2000, "n1", "n3")},
		"one in ten":              {id: "path/loss", lost: every(10, "n1", "n3"), reason: requirement.NoAnswer, from: "n1", to: "n3", says: "and 0 of"},
		"one in ten, one node":    {id: "path/loss", lost: every(10, "n2", "n2"), reason: requirement.NoAnswer, from: "n2", to: "n2", says: "between two pods on n2"},
		"one in fifty":            {id: "path/loss", lost: every(50, "n3", "n2"), reason: requirement.NoAnswer, from: "n3", to: "n2", says: "and 0 of"},
		"full-size alone":         {id: "path/loss", lost: func(f, t string, n, bytes int) bool { return f == "n2" && t == "n1" && bytes > 1000 && n%5 == 0 }, reason: requirement.NoAnswer, from: "n2", to: "n1", says: "hundreds of full-size datagrams"},
		"first SYNs whole":        {id: "path/second-syn"},
		"every second SYN":        {id: "path/second-syn", lost: every(2, "n1", "n3"), reason: requirement.NoAnswer, from: "n1", to: "n3", says: "needed a second SYN"},
		"one first SYN in thirty": {id: "path/second-syn", lost: every(30, "n3", "n1"), reason: requirement.NoAnswer, says: "n3 to n1"},
		"alike":                   {id: "path/slow"},
		"nine times slower":       {id: "path/slow", slow: slower(9, "n2", "n3")},
		"twenty times slower":     {id: "path/slow", slow: slower(20, "n2", "n3"), reason: requirement.Slow, from: "n2", to: "n3", says: "n2 to n3: "},
		"one node is no kind of two": {id: "path/slow", slow: func(from, to string) int {
			if from == to {
				return 1
			}
			return 50
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNetwork(t, "n1", "n2", "n3")
			w.lost, w.slow = c.lost, c.slow
			err := checkOf(t, c.id)(t.Context(), &requirement.Env{Requirement: requirementOf(t, c.id), Kube: withVirtualIPs(),
				Family: corev1.IPv4Protocol, Players: w, Patience: 200 * time.Millisecond, Attempt: time.Second})
			if c.reason == "" {
				require.NoError(t, err)
				return
			}
			f := requirement.AsFailure(err)
			require.NotNil(t, f, err)
			require.Equal(t, c.reason, f.Reason)
			if c.from != "" {
				require.Equal(t, [2]string{c.from, c.to}, [2]string{f.From.Node, f.To.Node}, f)
			}
			require.Contains(t, f.Error(), c.says)
		})
	}
}

func slower(times int, from, to string) func(string, string) int {
	return func(f, t string) int {
		if f == from && t == to {
			return times
		}
		return 1
	}
}

// On many nodes the paths grow with the nodes, and the coverage is stated.
func TestPathsOfManyNodes(t *testing.T) {
	var nodes []string
	for i := range 20 {
		nodes = append(nodes, fmt.Sprintf("n%d", i))
	}
	w := newNetwork(t, nodes...)
	env := &requirement.Env{Requirement: requirementOf(t, "path/loss"), Kube: fake.NewClientset(), Family: corev1.IPv4Protocol, Players: w, Attempt: time.Second}
	require.NoError(t, env.Requirement.Check(t.Context(), env))
	require.Contains(t, env.Notes(), "IPv4: 140 paths: each node with 6 others, drawn, of 20 nodes, and two pods on each of 20")
}
