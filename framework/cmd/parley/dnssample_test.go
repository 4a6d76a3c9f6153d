package main

import (
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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/dns"
)

// TestDNSSamplesAreJudgedOnce has the rows about every node and every server ask servers of which some lose questions or answer a
// few of them otherwise: a later answer that is right makes neither good.
func TestDNSSamplesAreJudgedOnce(t *testing.T) {
	var lost, right, wrong = wire.TimedOut, "10.96.0.7", "10.96.0.99"
	for name, c := range map[string]struct {
		answer func(n int64, q wire.DNS) (wire.Class, string) // of the n-th question of the second node
		reason map[string]requirement.Reason
	}{
		"all are answered": {func(int64, wire.DNS) (wire.Class, string) { return wire.OK, right }, nil},
		"one is lost": {func(n int64, _ wire.DNS) (wire.Class, string) {
			if n == 100 {
				return lost, ""
			}
			return wire.OK, right
		}, nil},
		"one in twenty is lost": {func(n int64, _ wire.DNS) (wire.Class, string) {
			if n%20 == 0 {
				return lost, ""
			}
			return wire.OK, right
		}, map[string]requirement.Reason{"dns/every-node": requirement.NoAnswer, "dns/every-server": requirement.NoAnswer}},
		"one in twenty of those over TCP": {func(n int64, q wire.DNS) (wire.Class, string) {
			if n%20 == 0 && q.TCP {
				return lost, ""
			}
			return wire.OK, right
		}, map[string]requirement.Reason{"dns/every-node": requirement.NoAnswer, "dns/every-server": requirement.NoAnswer}},
		"one in a hundred is answered otherwise": {func(n int64, _ wire.DNS) (wire.Class, string) {
			if n%100 == 0 {
				return wire.OK, wrong
			}
			return wire.OK, right
		}, map[string]requirement.Reason{"dns/every-node": requirement.WrongRecord, "dns/every-server": requirement.WrongRecord}},
	} {
		for _, q := range dns.Requirements() {
			if q.ID != "dns/every-node" && q.ID != "dns/every-server" {
				continue
			}
			t.Run(name+": "+q.ID, func(t *testing.T) {
				err := q.Check(t.Context(), sampleEnv(t, &q, c.answer))
				f := requirement.AsFailure(err)
				if c.reason[q.ID] == "" {
					require.NoError(t, err)
					return
				}
				require.NotNil(t, f, err)
				require.Equal(t, c.reason[q.ID], f.Reason)
				require.Equal(t, "n2", f.From.Node)
				require.Equal(t, f.Reason == requirement.WrongRecord, f.Final != "", "what is lost may be a busy machine's doing")
			})
		}
	}
}

// sampleEnv has pods on two nodes; the second one's questions are answered as the test says.
func sampleEnv(t *testing.T, q *requirement.Requirement, answer func(int64, wire.DNS) (wire.Class, string)) *requirement.Env {
	t.Helper()
	pod := func(node string, answer func(int64, wire.DNS) (wire.Class, string)) *requirement.End {
		var asked atomic.Int64
		agent := probe.New(node, fakeagent.Answer(func(_ wire.Op, args json.RawMessage) any {
			var q wire.DNS
			if json.Unmarshal(args, &q) != nil {
				return nil
			}
			return asOften(q, func() (wire.Class, string) { return answer(asked.Add(1), q) })
		}))
		t.Cleanup(func() { _ = agent.Close() })
		return &requirement.End{Agent: agent, Role: world.Everywhere, Namespace: "ns", Pod: "every-" + node, Node: node, IPs: []netip.Addr{netip.MustParseAddr("10.1.0.9")}}
	}
	udp, port := corev1.ProtocolUDP, int32(53)
	kube := fake.NewClientset(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"}},
		&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns-1", Labels: map[string]string{discoveryv1.LabelServiceName: "kube-dns"}},
			Ports: []discoveryv1.EndpointPort{{Protocol: &udp, Port: &port}}, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.1.0.1"}}}})
	well := func(int64, wire.DNS) (wire.Class, string) { return wire.OK, "10.96.0.7" }
	web := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}, Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.7"}}}
	return &requirement.Env{Requirement: q, Kube: kube, Family: corev1.IPv4Protocol, Patience: 20 * time.Second, Attempt: 2500 * time.Millisecond, Base: 20000,
		Players: &fakePlayers{ends: map[world.Role][]*requirement.End{world.Everywhere: {pod("n1", well), pod("n2", answer)}},
			services: map[world.Service]requirement.ServiceSeen{world.Web: {Service: web}}},
		World: world.Plan{Prefix: "ns", Domain: "cluster.local", DNSService: types.NamespacedName{Namespace: "kube-system", Name: "kube-dns"}}}
}

// asOften answers a question as often as it is asked, as an agent does.
func asOften(q wire.DNS, once func() (wire.Class, string)) wire.DNSAnswer {
	result := wire.DNSAnswer{Tally: map[wire.Class]int{}, Said: map[string]int{}}
	for range max(1, q.Count) {
		class, address := once()
		result.Tally[class]++
		a := wire.DNSAnswer{Errno: wire.Errno{Class: class}, Tally: result.Tally, Said: result.Said}
		if class == wire.OK {
			result.Said[strings.ToLower(address)]++
			a.Rcode, a.Answers = "NOERROR", []string{address}
		}
		if result.Ok() {
			result = a
		}
	}
	return result
}
