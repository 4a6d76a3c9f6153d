package diagnose

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// resolution is what the pods of a fake node are told, and what they hear.
type resolution struct {
	domain string // of the search list
	answer func(q wire.DNS) wire.DNSAnswer
}

func (r resolution) agent(node string) *requirement.End {
	serve := func(op wire.Op, args json.RawMessage) any {
		switch op {
		case wire.OpDNS:
			var q wire.DNS
			if json.Unmarshal(args, &q) != nil {
				return nil
			}
			if q.Server == "" {
				q.Server = "10.96.0.10:53"
			}
			got := r.answer(q)
			got.Server = q.Server
			return got
		case wire.OpFile:
			return wire.FileResult{Data: fmt.Appendf(nil, "search ns.svc.%[1]s svc.%[1]s %[1]s corp.example\nnameserver 10.96.0.10\noptions ndots:5\n", r.domain)}
		}
		return nil
	}
	return &requirement.End{Agent: probe.New(node, fakeagent.Answer(serve)), Role: world.Everywhere, Pod: "every-" + node, Node: node,
		IPs: []netip.Addr{netip.MustParseAddr("10.1.0.9")}}
}

// players are one pod on each node.
type players struct {
	requirement.Players
	everywhere []*requirement.End
}

func (p players) Ends(r world.Role) []*requirement.End {
	if r == world.Everywhere {
		return p.everywhere
	}
	return nil
}

// dnsCluster has two DNS pods, dns-a on n1 at 10.1.0.1 and dns-b on n2 at 10.2.0.1, which are ready or not.
func dnsCluster(ready bool) []runtime.Object {
	meta := func(name string, labels map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "kube-system", Name: name, Labels: labels}
	}
	app := map[string]string{"k8s-app": "kube-dns"}
	udp, port, n1, n2, two := corev1.ProtocolUDP, int32(53), "n1", "n2", int32(2)
	endpoint := func(ip, pod string, node *string) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{Addresses: []string{ip}, NodeName: node, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			TargetRef: &corev1.ObjectReference{Namespace: "kube-system", Name: pod}}
	}
	crashing := &corev1.Pod{ObjectMeta: meta("dns-a", app), Spec: corev1.PodSpec{NodeName: n1}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
		{Name: "coredns", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}}}}}}
	return []runtime.Object{
		&corev1.Service{ObjectMeta: meta("kube-dns", nil), Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.10", Selector: app}},
		&discoveryv1.EndpointSlice{ObjectMeta: meta("kube-dns-1", map[string]string{discoveryv1.LabelServiceName: "kube-dns"}), AddressType: discoveryv1.AddressTypeIPv4,
			Ports:     []discoveryv1.EndpointPort{{Protocol: &udp, Port: &port}},
			Endpoints: []discoveryv1.Endpoint{endpoint("10.1.0.1", "dns-a", &n1), endpoint("10.2.0.1", "dns-b", &n2)}},
		&appsv1.Deployment{ObjectMeta: meta("coredns", nil), Spec: appsv1.DeploymentSpec{Replicas: &two, Template: corev1.PodTemplateSpec{ObjectMeta: meta("", app)}}},
		crashing,
	}
}

func rightly(wire.DNS) wire.DNSAnswer { return one }

// TestNames diagnoses failures as checks report them, on a cluster whose agents hear what the fault would have them hear.
func TestNames(t *testing.T) {
	blind := func(q wire.DNS) wire.DNSAnswer {
		if strings.HasPrefix(q.Name, "new.") && q.Server == "10.2.0.1:53" {
			return none
		}
		return one
	}
	largeLost := func(q wire.DNS) wire.DNSAnswer {
		switch {
		case strings.HasPrefix(q.Name, "kubernetes."):
			return one
		case q.TCP:
			return many
		case q.EDNS > 0:
			return silence
		}
		return short
	}
	large := func(q wire.DNS) wire.DNSAnswer {
		if q.EDNS > 0 && !strings.HasPrefix(q.Name, "kubernetes.") {
			return many
		}
		return largeLost(q)
	}
	wrongDomain := func(q wire.DNS) wire.DNSAnswer {
		if strings.Contains(q.Name, "corp.internal") {
			return none
		}
		return one
	}
	question := &wire.DNS{Name: "new.ns.svc.cluster.local.", Type: "A"}
	for name, c := range map[string]struct {
		n1, n2   resolution
		failure  requirement.Failure
		notReady bool
		want     []string
		not      string
	}{
		"one DNS pod knows nothing new": {resolution{"cluster.local", blind}, resolution{"cluster.local", blind},
			requirement.Failure{Protocol: "dns A", Target: question.Name, Question: question}, false,
			[]string{"the DNS pod dns-b on n2 answers NXDOMAIN where the DNS pod dns-a on n1 answers 10.96.0.7"}, "only this question"},
		"the same, of a name that the search list completes": {resolution{"cluster.local", blind}, resolution{"cluster.local", blind},
			requirement.Failure{Protocol: "dns by resolv.conf", Target: "new", Question: &wire.DNS{Name: "new", Type: "A"}}, false,
			[]string{"the DNS pod dns-b on n2 answers NXDOMAIN where the DNS pod dns-a on n1 answers 10.96.0.7"}, "only this question"},
		"large answers by UDP are lost to one node": {resolution{"cluster.local", largeLost}, resolution{"cluster.local", large},
			requirement.Failure{Protocol: "dns by resolv.conf, announcing 1232 bytes by EDNS(0)", Target: question.Name, Question: question}, false,
			[]string{"answers over 512 bytes by UDP are lost on the way to node n1", "by TCP they arrive"}, "only this question"},
		"a kubelet with another cluster domain": {resolution{"corp.internal", wrongDomain}, resolution{"cluster.local", wrongDomain},
			requirement.Failure{Protocol: "dns by resolv.conf", Target: "web", Question: &wire.DNS{Name: "web", Type: "A"}}, false,
			[]string{"the kubelet of n1 gives its pods the search domains [ns.svc.corp.internal svc.corp.internal corp.internal]", "those of n2 give [ns.svc.cluster.local"}, ""},
		"the same, seen in resolv.conf itself": {resolution{"corp.internal", wrongDomain}, resolution{"cluster.local", wrongDomain},
			requirement.Failure{Protocol: "resolv.conf", Target: "/etc/resolv.conf"}, false,
			[]string{"the kubelet of n1 gives its pods the search domains [ns.svc.corp.internal svc.corp.internal corp.internal]"}, ""},
		"nothing is wrong with resolv.conf's searches": {resolution{"cluster.local", rightly}, resolution{"cluster.local", rightly},
			requirement.Failure{Protocol: "resolv.conf", Target: "/etc/resolv.conf"}, false, nil, "DNS"},
		"everybody says no": {resolution{"cluster.local", func(q wire.DNS) wire.DNSAnswer {
			if strings.HasPrefix(q.Name, "new.") {
				return none
			}
			return one
		}}, resolution{"cluster.local", func(wire.DNS) wire.DNSAnswer { return none }},
			requirement.Failure{Protocol: "dns A", Target: question.Name, Question: question}, false,
			[]string{"each of 2 DNS pods", "NXDOMAIN", "by UDP and TCP", "asked from n1 and n2", "only this question is affected"}, ""},
		"no DNS pod is ready": {resolution{"cluster.local", func(wire.DNS) wire.DNSAnswer { return silence }}, resolution{"cluster.local", rightly},
			requirement.Failure{Protocol: "dns A", Target: question.Name, Question: question}, true,
			[]string{"kube-system/kube-dns has no ready endpoint", "the Deployment coredns has 0 of 2 pods ready",
				"the pod dns-a on n1, container coredns: ImagePullBackOff: no such image"}, ""},
		"a DNS pod that is deaf": {resolution{"cluster.local", func(q wire.DNS) wire.DNSAnswer {
			if q.Server == "10.2.0.1:53" {
				return silence
			}
			return one
		}}, resolution{"cluster.local", rightly}, requirement.Failure{Protocol: "dns A", Target: question.Name, Question: question}, false,
			[]string{"endpoint: the DNS pod dns-b on n2", "asked by every-n1 on n1, answers timed out"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n1, n2 := c.n1.agent("n1"), c.n2.agent("n2")
			env := &requirement.Env{Kube: fake.NewClientset(dnsCluster(!c.notReady)...), Family: corev1.IPv4Protocol, Players: players{everywhere: []*requirement.End{n1, n2}},
				World: world.Plan{Domain: "cluster.local", ClusterDNS: "10.96.0.10", DNSService: types.NamespacedName{Namespace: "kube-system", Name: "kube-dns"}}}
			c.failure.From = n1
			found := FirstBrokenHop(t.Context(), env, &c.failure, false)
			for _, want := range c.want {
				require.Contains(t, found.Hop, want)
			}
			if c.want == nil {
				require.Empty(t, found.Hop)
			}
			if c.not != "" {
				require.NotContains(t, found.Hop, c.not)
			}
		})
	}
}
