package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/dns"
)

// cachingServer answers for the Services of a fake API server, which it knows of some time after they are made or changed, and
// may keep its answers.
type cachingServer struct {
	kube     *fake.Clientset
	behind   time.Duration // until a new Service is known; changes and removals are at once, unless blind
	ttl      int           // seconds, of records and of negative answers
	caches   bool
	overstay time.Duration // how long beyond their TTL answers are kept
	keepTTL  bool          // what is kept has the TTL that it came with

	mu   sync.Mutex
	made map[string]time.Time
	kept map[string]keptAnswer
}

type keptAnswer struct {
	records func(ttl int) wire.DNSAnswer
	at      time.Time
}

func (s *cachingServer) answer(q wire.DNS) wire.DNSAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := q.Type + " " + q.Name
	if k, ok := s.kept[key]; ok {
		age := time.Since(k.at)
		if age < time.Duration(s.ttl)*time.Second+s.overstay {
			left := max(0, s.ttl-int(age.Seconds()))
			if s.keepTTL {
				left = s.ttl
			}
			return k.records(left)
		}
	}
	records := s.look(q)
	if s.caches {
		s.kept[key] = keptAnswer{records: records, at: time.Now()}
	}
	return records(s.ttl)
}

// look answers by what the API server has now.
func (s *cachingServer) look(q wire.DNS) func(ttl int) wire.DNSAnswer {
	ctx := context.Background()
	none := func(ttl int) wire.DNSAnswer {
		return wire.DNSAnswer{Errno: wire.Errno{Class: wire.NameError}, Rcode: "NXDOMAIN",
			Authority: []string{fmt.Sprintf("cluster.local. %d IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 %d", ttl, s.ttl)}}
	}
	name, _, _ := strings.Cut(q.Name, ".")
	service, err := s.kube.CoreV1().Services("ns").Get(ctx, name, metav1.GetOptions{})
	if err != nil || time.Since(s.made[name]) < s.behind {
		return none
	}
	record, values := "A", []string{service.Spec.ClusterIP}
	switch {
	case service.Spec.Type == corev1.ServiceTypeExternalName:
		record, values = "CNAME", []string{service.Spec.ExternalName + "."}
	case service.Spec.ClusterIP == corev1.ClusterIPNone:
		values = nil
		all, err := s.kube.DiscoveryV1().EndpointSlices("ns").List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name})
		if err != nil {
			return none
		}
		for _, slice := range all.Items {
			for _, e := range slice.Endpoints {
				if *e.Conditions.Ready {
					values = append(values, e.Addresses[0])
				}
			}
		}
	}
	if len(values) == 0 {
		return none
	}
	return func(ttl int) wire.DNSAnswer {
		a := wire.DNSAnswer{Rcode: "NOERROR", Answers: values}
		for _, v := range values {
			a.Records = append(a.Records, fmt.Sprintf("%s %d IN %s %s", q.Name, ttl, record, v))
		}
		return a
	}
}

// dnsEnv is what a check of the row sees: a pod that asks the server, and an API server that has the Service of two DNS pods.
func dnsEnv(t *testing.T, q *requirement.Requirement, s *cachingServer) *requirement.Env {
	t.Helper()
	udp, port, ready := corev1.ProtocolUDP, int32(53), true
	s.kube = fake.NewClientset(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"}},
		&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns-1", Labels: map[string]string{discoveryv1.LabelServiceName: "kube-dns"}},
			Ports:     []discoveryv1.EndpointPort{{Protocol: &udp, Port: &port}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.1.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}}})
	s.made, s.kept = map[string]time.Time{}, map[string]keptAnswer{}
	n := 0
	s.kube.PrependReactor("create", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		n++
		switch o := action.(clienttesting.CreateAction).GetObject().(type) {
		case *corev1.Service:
			if o.Name == "" {
				o.Name = fmt.Sprint(o.GenerateName, n)
			}
			o.Namespace, o.Spec.IPFamilies = "ns", []corev1.IPFamily{corev1.IPv4Protocol}
			if o.Spec.ClusterIP == "" && o.Spec.Type != corev1.ServiceTypeExternalName {
				o.Spec.ClusterIP = fmt.Sprintf("10.96.1.%d", n)
			}
			s.made[o.Name] = time.Now()
		case *discoveryv1.EndpointSlice:
			o.Name = fmt.Sprint(o.GenerateName, n)
		}
		return false, nil, nil
	})
	agent := probe.New("near", fakeagent.Answer(func(op wire.Op, args json.RawMessage) any {
		var asked wire.DNS
		if op != wire.OpDNS || json.Unmarshal(args, &asked) != nil {
			return struct{}{}
		}
		time.Sleep(time.Millisecond) // of the bubble's time
		return s.answer(asked)
	}))
	t.Cleanup(func() { _ = agent.Close() })
	service := func(name, ip string) requirement.ServiceSeen {
		return requirement.ServiceSeen{Service: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}}}}
	}
	near := &requirement.End{Agent: agent, Role: world.Near, Namespace: "ns", Pod: "near", Container: "client", Node: "n1", IPs: []netip.Addr{netip.MustParseAddr("10.1.0.9")}}
	return &requirement.Env{Requirement: q, Kube: s.kube, Family: corev1.IPv4Protocol, Patience: 20 * time.Second, Attempt: 2500 * time.Millisecond, Base: 20000,
		Players: &fakePlayers{ends: map[world.Role][]*requirement.End{world.Near: {near}},
			services: map[world.Service]requirement.ServiceSeen{world.Web: service("web", "10.96.0.7"), world.Abroad: service("abroad", "10.96.0.8")}},
		World: world.Plan{Prefix: "ns", Domain: "cluster.local", ClusterDNS: "10.96.0.10", DNSService: types.NamespacedName{Namespace: "kube-system", Name: "kube-dns"}}}
}

// TestDNSRowsAllowWhatTTLsAllow has the rows about changes judge servers that keep their answers: for as long as the TTLs say that is
// right, and beyond it is not.
func TestDNSRowsAllowWhatTTLsAllow(t *testing.T) {
	const late = 50 * time.Millisecond
	changes := []string{"dns/external-name-follows", "dns/service-recreated", "dns/service-removed", "dns/headless-follows"}
	rows := append([]string{"dns/new-service-latency", "dns/external-name", "dns/headless-ready-only"}, changes...)
	for name, c := range map[string]struct {
		server func() *cachingServer
		rows   []string
		holds  bool
		within time.Duration // that the verdict took; 0 is not asked
	}{
		"a server without a cache": {func() *cachingServer { return &cachingServer{behind: late, ttl: 30} }, rows, true, 5 * time.Second},
		"cache 30":                 {func() *cachingServer { return &cachingServer{behind: late, ttl: 30, caches: true} }, rows, true, 0},
		"kept a minute beyond the TTL": {func() *cachingServer {
			return &cachingServer{behind: late, ttl: 30, caches: true, overstay: time.Minute}
		}, changes, false, 0},
		"the same, with a TTL that is as it came": {func() *cachingServer {
			return &cachingServer{behind: late, ttl: 30, caches: true, overstay: time.Minute, keepTTL: true}
		}, changes, false, 0},
		"a server that never learns of what is new":         {func() *cachingServer { return &cachingServer{behind: time.Hour, ttl: 30} }, rows, false, 15 * time.Second},
		"the same, with a cache: its no is never a new one": {func() *cachingServer { return &cachingServer{behind: time.Hour, ttl: 5, caches: true} }, rows, false, 30 * time.Second},
	} {
		for _, q := range dns.Requirements() {
			for _, id := range c.rows {
				if q.ID != id {
					continue
				}
				t.Run(name+": "+id, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						start := time.Now()
						env := dnsEnv(t, &q, c.server())
						err := q.Check(t.Context(), env)
						took := time.Since(start)
						require.NoError(t, env.CleanUp(t.Context()))
						if c.holds {
							require.NoError(t, err)
						} else {
							require.NotNil(t, requirement.AsFailure(err), err)
						}
						require.Less(t, took, 2*time.Minute, "a check has two minutes")
						if c.within > 0 {
							require.Less(t, took, c.within)
						}
					})
				})
			}
		}
	}
}
