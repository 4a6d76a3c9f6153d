package diagnose

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// network is what agents of these tests see when they dial: who dials, and what.
type network func(from string, c wire.Connect, n int) wire.Exchange

// fakePlayers are the client a on n1 and the server b on n2.
type fakePlayers struct {
	requirement.Players
	ends map[world.Role][]*requirement.End
}

func (p fakePlayers) Ends(r world.Role) []*requirement.End { return p.ends[r] }

// scene is a cluster with pod a (10.0.1.1) on n1 and pod b (10.0.2.1) on n2, and the Service 10.96.0.1 of b.
type scene struct {
	client, server *requirement.End
	players        fakePlayers
	objects        []runtime.Object
	asked          atomic.Int64
}

func newScene(t *testing.T, net network) *scene {
	s := &scene{players: fakePlayers{ends: map[world.Role][]*requirement.End{}}}
	end := func(name, node, ip string) *requirement.End {
		agent := probe.New(name, fakeagent.Answer(func(op wire.Op, args json.RawMessage) any {
			switch op {
			case wire.OpListen:
				return wire.Listening{Handle: "server"}
			case wire.OpIdentity:
				return wire.Identity{Hostname: name, Namespaces: map[string]uint64{"net": 7},
					Interfaces: []wire.Interface{{Name: "eth0", MTU: 1500, MAC: "0a:00:00:00:00:0" + name[:1], Addrs: []string{ip + "/24"}}}}
			case wire.OpConnect:
				var c wire.Connect
				require.NoError(t, json.Unmarshal(args, &c))
				got := wire.Connected{Tally: map[wire.Class]int{}, Peers: map[string]int{}}
				for range max(1, c.Count) {
					x := net(name, c, int(s.asked.Add(1)))
					got.Tally[x.Class]++
					if x.Ok() && x.Witness == nil {
						x.Witness = &wire.Witness{Who: "b"}
					}
					if x.Witness != nil {
						got.Peers[x.Witness.Who]++
					}
					got.Seen = append(got.Seen, x)
				}
				return got
			}
			return struct{}{}
		}))
		t.Cleanup(func() { _ = agent.Close() })
		return &requirement.End{Agent: agent, Namespace: "ns", Pod: name, Container: "c", Node: node, IPs: []netip.Addr{netip.MustParseAddr(ip)}}
	}
	s.client, s.server = end("a", "n1", "10.0.1.1"), end("b", "n2", "10.0.2.1")
	s.players.ends[world.Everywhere], s.players.ends[world.WebFar] = []*requirement.End{s.client}, []*requirement.End{s.server}
	port, name, udp, number, ready, node := int32(80), "tcp", corev1.ProtocolUDP, int32(8080), true, "n2"
	tcp := corev1.ProtocolTCP
	s.objects = []runtime.Object{
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}, Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.1"},
			Ports: []corev1.ServicePort{{Name: name, Protocol: tcp, Port: port, NodePort: 30080}, {Name: "udp", Protocol: udp, Port: port}}}},
		&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: &name, Protocol: &tcp, Port: &number}, {Name: new("udp"), Protocol: &udp, Port: &number}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.2.1"}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
				TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "ns", Name: "b"}}}},
	}
	return s
}

func (s *scene) diagnose(t *testing.T, f *requirement.Failure) string {
	t.Helper()
	return s.find(t, f).Hop
}

func (s *scene) find(t *testing.T, f *requirement.Failure) Finding {
	t.Helper()
	f.From = s.client
	env := &requirement.Env{Requirement: &requirement.Requirement{ID: "service/x"}, Kube: fake.NewClientset(s.objects...), Family: corev1.IPv4Protocol,
		Players: s.players, Attempt: 100 * time.Millisecond, Base: 20000, World: world.Plan{Prefix: "parley-x"}}
	found := FirstBrokenHop(t.Context(), env, f, false)
	t.Log(strings.Join(found.Seen, "\n"))
	return found
}

var lost = wire.Exchange{Errno: wire.Errno{Class: wire.TimedOut, Text: "read: no answer"}, Step: "read"}

func TestTheFailingQuestionItselfIsAsked(t *testing.T) {
	whole := func(string, wire.Connect, int) wire.Exchange { return wire.Exchange{Same: true} }
	for name, c := range map[string]struct {
		net      network
		to       bool // the failure names the server
		target   string
		protocol string
		exchange *wire.Connect
		reason   requirement.Reason
		want     []string
		not      []string
	}{
		"the address of a Service, of which the failure names the server alone": {to: true, target: "10.96.0.1:80", protocol: "tcp",
			net: func(_ string, c wire.Connect, _ int) wire.Exchange {
				if strings.HasPrefix(c.Address, "10.96.") && c.Network == "tcp" {
					return lost
				}
				return wire.Exchange{Same: true, Remote: c.Address}
			}, want: []string{"ClusterIP: a on n1 dials 10.96.0.1:80 and gets timed out (read: no answer) in 8 of 8 attempts", "though its endpoints answer"}},
		"the answer of an endpoint that nobody translates": {to: true, target: "10.96.0.1:80", protocol: "tcp",
			net: func(_ string, c wire.Connect, _ int) wire.Exchange {
				switch {
				case !strings.HasPrefix(c.Address, "10.96."):
					return wire.Exchange{Same: true, Remote: c.Address}
				case c.Unconnected:
					return wire.Exchange{Same: true, Remote: "10.0.2.1:8080"}
				}
				return lost
			}, want: []string{"the answer comes from the endpoint's own address 10.0.2.1:8080 (b on n2) instead of 10.96.0.1:80: it is not translated back (seen over UDP)"}},
		"an endpoint, at the port that the API says": {target: "10.96.0.1:80", protocol: "tcp",
			net: func(_ string, c wire.Connect, _ int) wire.Exchange {
				if c.Address == "10.0.2.1:8080" {
					return lost
				}
				return wire.Exchange{Same: true}
			}, want: []string{"endpoint: a on n1 dials 10.0.2.1:8080 (b on n2) and gets timed out"}},
		"a NodePort": {to: true, target: "172.18.0.3:30080", protocol: "tcp",
			net: func(_ string, c wire.Connect, _ int) wire.Exchange {
				if c.Address == "172.18.0.3:30080" {
					return lost
				}
				return wire.Exchange{Same: true}
			}, want: []string{"NodePort: a on n1 dials 172.18.0.3:30080"}},
		"one in ten lost": {to: true, target: "10.0.2.1:20001", protocol: "udp",
			net: func(_ string, _ wire.Connect, n int) wire.Exchange {
				if n%10 == 9 {
					return lost
				}
				return wire.Exchange{Same: true}
			}, want: []string{"a on n1 to b on n2: of 50 exchanges over udp 5 end with timed out", "which way they are lost was not looked at"}},
		"one in ten lost, the ladder's own too": {to: true, target: "10.0.2.1:20001", protocol: "udp",
			net: func(from string, _ wire.Connect, n int) wire.Exchange {
				if from == "a" && n%10 == 3 {
					return lost
				}
				return wire.Exchange{Same: true}
			}, want: []string{"pod on another node: a on n1 dials 10.0.2.1:20023 (b on n2) and gets timed out (read: no answer), now and then; a on n1 to b on n2: of 50 exchanges over udp 5 end"}},
		"one in ten lost, met at a Service": {target: "10.96.0.1:80", protocol: "tcp",
			net: func(_ string, _ wire.Connect, n int) wire.Exchange {
				if n%10 == 4 {
					return lost
				}
				return wire.Exchange{Same: true, Remote: "10.96.0.1:80"}
			}, want: []string{"ClusterIP: a on n1 dials 10.96.0.1:80 and gets timed out (read: no answer) in 1 of 8 attempts, now and then; a on n1 to b on n2: of 50 exchanges over tcp 5 end"},
			not: []string{"proxy"}},
		"the first SYN lost": {to: true, target: "10.0.2.1:20001", protocol: "tcp",
			net:  func(string, wire.Connect, int) wire.Exchange { return wire.Exchange{Same: true, SYNsAgain: 1} },
			want: []string{"a on n1 to b on n2: 50 of 50 connections need a second SYN"}},
		"the first SYN lost, of some that were to answer": {target: "10.96.0.1:80", protocol: "tcp", reason: requirement.Missing,
			net: func(_ string, c wire.Connect, _ int) wire.Exchange {
				return wire.Exchange{Same: true, SYNsAgain: 1, Remote: c.Address}
			},
			want: []string{"ClusterIP 10.96.0.1:80: 50 of 50 connections need a second SYN"}},
		"what is too long": {to: true, target: "10.0.2.1:20001", protocol: "tcp", exchange: &wire.Connect{Network: "tcp", Address: "10.0.2.1:20001", Bytes: 100000},
			net: func(from string, c wire.Connect, _ int) wire.Exchange {
				if from == "a" && (c.Bytes > 1400 || c.DF && c.Bytes+headers4 > 1222) {
					return lost
				}
				return wire.Exchange{Same: true}
			}, want: []string{"the exchange as it was asked (100000 bytes)", "8 end with timed out", "datagrams of up to 1222 bytes with DF arrive, and of 1223 bytes and more are lost",
				"back datagrams of every size up to the interface's MTU arrive", "of small messages each answers now: loopback, own pod IP, pod on another node"}},
		"other bytes": {to: true, target: "10.0.2.1:20001", protocol: "tcp", reason: requirement.Broken, exchange: &wire.Connect{Network: "tcp", Address: "10.0.2.1:20001", Bytes: 100000},
			net: func(from string, c wire.Connect, n int) wire.Exchange {
				if from == "a" && c.Bytes > 1400 && n%2 == 0 && !c.DF {
					return wire.Exchange{Errno: wire.Errno{Class: wire.Other}, Step: "compare"}
				}
				return wire.Exchange{Same: true}
			}, want: []string{"of 8 exchanges over tcp 4 came with other bytes than were sent; straight to b on n2 are changed: 4 of 8 from n1"}},
		"nothing, of a pod": {net: whole, to: true, target: "10.0.2.1:20001", protocol: "tcp", want: []string{"none now: each answers now: loopback, own pod IP, pod on another node",
			"port 20001 itself was not asked again"}, not: []string{"only"}},
		"nothing, of a Service": {net: whole, target: "10.96.0.1:80", protocol: "udp", want: []string{"none now: each answers now: endpoint, ClusterIP",
			"the same exchange with ClusterIP 10.96.0.1:80 was asked 50 times more and answered each time"}, not: []string{"loopback"}},
		"somebody else": {target: "10.96.0.1:80", protocol: "tcp", reason: requirement.WrongPeer,
			net: func(_ string, _ wire.Connect, n int) wire.Exchange {
				return wire.Exchange{Same: true, Witness: &wire.Witness{Who: map[bool]string{true: "b", false: "stranger"}[n%2 == 0]}}
			}, want: []string{"10.96.0.1:80, asked 8 times more, answers as b 4 times, stranger 4 times"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, c.net)
			f := &requirement.Failure{Reason: c.reason, Target: c.target, Protocol: c.protocol, Exchange: c.exchange}
			if f.Reason == "" {
				f.Reason = requirement.NoAnswer
			}
			if c.to {
				f.To = s.server
			}
			hop := s.diagnose(t, f)
			for _, want := range c.want {
				require.Contains(t, hop, want)
			}
			for _, not := range c.not {
				require.NotContains(t, hop, not)
			}
		})
	}
}

func TestAnAddressOfTwoIsTheCause(t *testing.T) {
	pod := func(name, ip string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: corev1.PodSpec{NodeName: "n2"},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: ip}}}}
	}
	silent := func(string, wire.Connect, int) wire.Exchange { return lost }
	s := newScene(t, silent)
	s.objects = append(s.objects, pod("b", "10.0.2.1"), pod("twin", "10.0.2.1"))
	require.Equal(t, "10.0.2.1 is the address of pod ns/b on n2 and of pod ns/twin on n2",
		s.diagnose(t, &requirement.Failure{Reason: requirement.NoAnswer, To: s.server, Target: "10.0.2.1:20001", Protocol: "tcp"}))
	s = newScene(t, silent)
	s.objects = append(s.objects, pod("b", "10.0.2.1"), pod("twin", "10.0.2.1"))
	require.Equal(t, "10.0.2.1 is the address of pod ns/b on n2 and of pod ns/twin on n2",
		s.diagnose(t, &requirement.Failure{Reason: requirement.Refused, Target: "10.96.0.1:80", Protocol: "tcp"}), "an endpoint that the failure does not name")
	s = newScene(t, silent)
	s.objects = append(s.objects, pod("c", "10.0.2.8"), pod("twin", "10.0.2.8"))
	hop := s.diagnose(t, &requirement.Failure{Reason: requirement.NoAnswer, To: s.server, Target: "10.0.2.1:20001", Protocol: "tcp"})
	require.Contains(t, hop, "loopback: b on n2 dials 127.0.0.1:20023 and gets timed out")
	require.Contains(t, hop, "; besides, 10.0.2.8 is the address of pod ns/c on n2 and of pod ns/twin on n2", "it may be why a third is not reached")
}

// A cause is the same sentence for each failure that it explains, so it names nothing of the failure.
func TestACauseIsTheSameForAllThatItBreaks(t *testing.T) {
	silent := func(string, wire.Connect, int) wire.Exchange { return lost }
	twin := func(name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: corev1.PodSpec{NodeName: "n2"},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.0.2.1"}}}}
	}
	for _, f := range []*requirement.Failure{
		{Reason: requirement.NoAnswer, Target: "10.0.2.1:20001", Protocol: "tcp"}, {Reason: requirement.Refused, Target: "10.96.0.1:80", Protocol: "udp"},
	} {
		s := newScene(t, silent)
		s.objects = append(s.objects, twin("b"), twin("twin"))
		require.Equal(t, "10.0.2.1 is the address of pod ns/b on n2 and of pod ns/twin on n2", s.find(t, f).Cause)
	}
	s := newScene(t, func(from string, c wire.Connect, _ int) wire.Exchange {
		if from == "a" && c.Address == "10.96.0.1:80" {
			return lost
		}
		return wire.Exchange{Same: true}
	})
	other := *s.server
	other.Pod, other.Node = "c", "n3"
	s.players.ends[world.Everywhere] = append(s.players.ends[world.Everywhere], &other)
	require.Equal(t, "the service proxy of n1: addresses of Services don't answer there that do on other nodes, and their endpoints do",
		s.find(t, &requirement.Failure{Reason: requirement.NoAnswer, Target: "10.96.0.1:80", Protocol: "tcp"}).Cause)
	require.Empty(t, newScene(t, silent).find(t, &requirement.Failure{Reason: requirement.NoAnswer, Target: "10.0.2.1:20001", Protocol: "tcp"}).Cause)

	w := &walk{}
	w.suspect("a proxy")
	w.blame("a rule")
	w.blame("another rule")
	require.Equal(t, []string{"a rule", "a proxy"}, []string{w.cause, w.suspected}, "what is nearest counts")
}

func TestWrongNeighbour(t *testing.T) {
	s := newScene(t, nil)
	s.players.ends[world.Node] = []*requirement.End{s.server}
	s.server.HostNetwork = true
	w := &walk{env: &requirement.Env{Players: s.players}, failure: &requirement.Failure{From: s.client}}
	ctx := context.Background()
	require.Equal(t, "that entry (PERMANENT) is wrong: no interface of n2 has the link-layer address 02:00:5e:10:00:01 (its eth0 has 0a:00:00:00:00:0b)",
		w.wrongNeighbour(ctx, wire.RouteLookup{To: "10.0.2.9", Via: "10.0.2.1", Address: "02:00:5e:10:00:01", State: "PERMANENT"}))
	require.Empty(t, w.wrongNeighbour(ctx, wire.RouteLookup{To: "10.0.2.9", Via: "10.0.2.1", Address: "0a:00:00:00:00:0b"}))
	require.Empty(t, w.wrongNeighbour(ctx, wire.RouteLookup{To: "10.0.2.9", Via: "10.0.2.254", Address: "02:00:5e:10:00:01"}), "nobody's of the run")
	require.Empty(t, w.wrongNeighbour(ctx, wire.RouteLookup{To: "10.0.2.1"}), "no entry")
}

func TestLossOf(t *testing.T) {
	p := crossNode()
	p.steps = p.steps[:8]
	for name, c := range map[string]struct {
		counts []uint64
		want   string
	}{
		"none":                      {[]uint64{50, 50, 50, 50, 50, 50, 50, 50}, "from a to b 0 of 50 packets are lost"},
		"on a node":                 {[]uint64{50, 50, 50, 50, 50, 41, 41, 41}, "from a to b 9 of 50 packets are lost on n2 (50: reaches n2; 41: leaves n2)"},
		"between nodes":             {[]uint64{50, 50, 50, 50, 41, 41, 41, 41}, "from a to b 9 of 50 packets are lost between n1 and n2 (50: leaves n1; 41: reaches n2)"},
		"past hooks that see none":  {[]uint64{50, 50, 0, 0, 0, 41, 41, 41}, "from a to b 9 of 50 packets are lost between pod a and n2 (50: leaves pod a; 41: leaves n2)"},
		"seen twice by a bridge":    {[]uint64{50, 50, 100, 50, 100, 50, 50, 50}, "from a to b 0 of 50 packets are lost"},
		"nothing was seen anywhere": {[]uint64{0, 0, 0, 0, 0, 0, 0, 0}, "from a to b 0 of 0 packets are lost"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, lossOf(p, c.counts, false).says("a", "b", "packets"))
		})
	}
}

func TestCountedInWords(t *testing.T) {
	require.Equal(t, "pod b discards 3 packets that came by UDP with a wrong checksum (Udp.InCsumErrors)", counted("pod b", 3, "Udp.InCsumErrors"))
	require.Equal(t, "n1 counted 1 more Ip.InNoRoutes meanwhile", counted("n1", 1, "Ip.InNoRoutes"))
}
