package reach

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

func TestWhichNodesAreJudgedFromOutside(t *testing.T) {
	of := func(name string, answered ...bool) sight {
		s := sight{Node: Node{Name: name}}
		for i, a := range answered { // first the plain port, then the node port
			s.witnesses = append(s.witnesses, witness{plain: i == 0, answered: a})
		}
		return s
	}
	for name, c := range map[string]struct {
		all                []sight
		reached, unreached string
	}{
		"all":                                  {[]sight{of("a", true, true), of("b", true, true)}, "a, b", ""},
		"none":                                 {[]sight{of("a", false, false), of("b", false, false)}, "", "a, b"},
		"one":                                  {[]sight{of("a", true, true), of("b", false, false)}, "a", "b"},
		"a node port is silent":                {[]sight{of("a", true, true), of("b", true, false)}, "a, b", ""},
		"node ports alone are let through":     {[]sight{of("a", false, true), of("b", false, true)}, "a, b", ""},
		"and one of them is silent":            {[]sight{of("a", false, true), of("b", false, false)}, "a, b", ""},
		"a node where only the port gets in":   {[]sight{of("a", true, true), of("b", false, true)}, "a, b", ""},
		"nothing to look at":                   {[]sight{of("a"), of("b")}, "", "a, b"},
		"plain ports, and no node port at all": {[]sight{of("a", true), of("b", false)}, "a", "b"},
	} {
		t.Run(name, func(t *testing.T) {
			reached, unreached := sortSights(c.all)
			require.Equal(t, []string{c.reached, c.unreached}, []string{names(reached), names(unreached)})
		})
	}
}

// cluster is a cluster of a user's with nodes n1 to n3, of which the host outside reaches the addresses in open.
type cluster struct {
	requirement.Players // of the rest nothing is asked
	ends                map[world.Role][]*requirement.End
	absent              map[requirement.Feature]string
}

func (c *cluster) EndsFrom(_ string, r world.Role) []*requirement.End { return c.ends[r] }
func (c *cluster) MarkAbsent(f requirement.Feature, why string)       { c.absent[f] = why }
func (c *cluster) WhyAbsent(f requirement.Feature) (probed string)    { return c.absent[f] }
func at(n int) netip.Addr                                             { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }
func name(n int) string                                               { return "n" + string(rune('0'+n)) }
func (c *cluster) agent(t *testing.T, dials func(string) wire.Class) *probe.Agent {
	agent := probe.New("fake", fakeagent.Answer(func(op wire.Op, args json.RawMessage) any {
		switch op {
		case wire.OpConnect:
			var dial wire.Connect
			_ = json.Unmarshal(args, &dial) // the test's own
			return wire.Connected{Seen: []wire.Exchange{{Errno: wire.Errno{Class: dials(dial.Address)}}}}
		case wire.OpListen:
			return wire.Listening{Handle: "h"}
		}
		return wire.Closed{}
	}))
	t.Cleanup(func() { _ = agent.Close() })
	return agent
}

func newCluster(t *testing.T, agents int, open func(string) bool, beside ...netip.Addr) (*requirement.Env, []Node) {
	c := &cluster{ends: map[world.Role][]*requirement.End{}, absent: map[requirement.Feature]string{}}
	c.ends[world.Outside] = []*requirement.End{{Role: world.Outside, IPs: beside, Agent: c.agent(t, func(address string) wire.Class {
		if open(address) {
			return wire.OK
		}
		return wire.TimedOut
	})}}
	var nodes []Node
	kube := fake.NewClientset()
	for n := 1; n <= 3; n++ {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name(n)}}
		node.Status.DaemonEndpoints.KubeletEndpoint.Port = 10250
		_, err := kube.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{})
		require.NoError(t, err)
		nodes = append(nodes, Node{Name: name(n), IP: at(n)})
		if n <= agents {
			c.ends[world.Node] = append(c.ends[world.Node], &requirement.End{Role: world.Node, Node: name(n), Pod: "node", HostNetwork: true, Agent: c.agent(t, nil)})
		}
	}
	q := &requirement.Requirement{ID: "external/x", Roles: []world.Role{world.Outside}, Wants: []world.Role{world.Node}}
	return &requirement.Env{Requirement: q, Kube: kube, Players: c, Family: corev1.IPv4Protocol, Attempt: time.Second, Base: 20000}, nodes
}

const nodePort = 30000

func TestJudged(t *testing.T) {
	everything := func(string) bool { return true }
	nothing := func(string) bool { return false }
	butN2 := func(address string) bool { return !strings.HasPrefix(address, "192.0.2.2:") }
	nodePorts := func(address string) bool { return strings.HasSuffix(address, ":30000") }
	for title, c := range map[string]struct {
		open   func(string) bool
		agents int
		beside []netip.Addr
		from   string // who dials each node that is judged
		noted  string
		probed string // of *requirement.Unsupported
	}{
		"all are reached":                     {open: everything, agents: 3, from: "n1 outside, n2 outside, n3 outside"},
		"one is not":                          {open: butN2, agents: 3, from: "n1 outside, n3 outside", noted: "judged through n1, n3 alone: this machine does not reach n2 (a plain listener at 192.0.2.2:20015: timed out, the kubelet at 192.0.2.2:10250: timed out"},
		"one is not, beside it":               {open: butN2, agents: 3, beside: []netip.Addr{at(9)}, from: "n1 outside, n2 outside, n3 outside"},
		"only node ports":                     {open: nodePorts, agents: 3, from: "n1 outside, n2 outside, n3 outside"},
		"none, the nodes' agents stand in":    {open: nothing, agents: 3, from: "n1 n2, n2 n1, n3 n1", noted: "the nodes' own agents took its place"},
		"none, one agent":                     {open: nothing, agents: 1, from: "n2 n1, n3 n1", noted: "this machine reaches no node over tcp and IPv4: n1 (a plain listener"},
		"none, and nobody stands in":          {open: nothing, agents: 0, probed: "no node's own agent can take its place: 0 run on 3 nodes"},
		"none, beside them: that is judged":   {open: nothing, agents: 3, beside: []netip.Addr{at(9)}, from: "n1 outside, n2 outside, n3 outside"},
		"no agents: the kubelet is a witness": {open: butN2, agents: 0, from: "n1 outside, n3 outside", noted: "n2 (the kubelet at 192.0.2.2:10250: timed out"},
	} {
		t.Run(title, func(t *testing.T) {
			env, nodes := newCluster(t, c.agents, c.open, c.beside...)
			judged, err := Judged(t.Context(), env, nodes, "tcp", nodePort)
			if c.probed != "" {
				var unsupported *requirement.Unsupported
				require.ErrorAs(t, err, &unsupported)
				require.Contains(t, unsupported.Probed, c.probed)
				return
			}
			require.NoError(t, err)
			var from []string
			for _, n := range judged {
				who := n.From.Node
				if n.From.Role == world.Outside {
					who = "outside"
				}
				from = append(from, n.Name+" "+who)
			}
			require.Equal(t, c.from, strings.Join(from, ", "))
			require.Contains(t, strings.Join(env.Notes(), "\n"), c.noted)
			require.Equal(t, c.noted != "", len(env.Notes()) > 0)
		})
	}
}

func TestThatNoNodeIsReachedIsFoundOutOnce(t *testing.T) {
	dialled := 0
	env, nodes := newCluster(t, 0, func(string) bool { dialled++; return false })
	_, first, err := FromOutside(t.Context(), env, nodes[:1], "udp", nodePort)
	require.NoError(t, err)
	require.NotEmpty(t, first)
	require.Equal(t, knocks, dialled, "silence is believed after several")
	_, again, err := FromOutside(t.Context(), env, nodes[:1], "udp", nodePort)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, knocks, dialled)

	_, _, err = FromOutside(t.Context(), env, nodes[:1], "udp", 0)
	require.NoError(t, err)
	absent, ok := env.Players.(*cluster)
	require.True(t, ok)
	require.Len(t, slices.Collect(maps.Keys(absent.absent)), 2, "whether node ports are reached is another question")
}
