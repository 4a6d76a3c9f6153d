package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

var (
	one     = wire.DNSAnswer{Rcode: "NOERROR", Answers: []string{"10.96.0.7"}, Length: 80}
	none    = wire.DNSAnswer{Errno: wire.Errno{Class: wire.NameError}, Rcode: "NXDOMAIN", Length: 120}
	silence = wire.DNSAnswer{Errno: wire.Errno{Class: wire.TimedOut}}
	many    = wire.DNSAnswer{Rcode: "NOERROR", Answers: []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"}, Length: 1644}
	short   = wire.DNSAnswer{Rcode: "NOERROR", Answers: []string{"10.0.0.1"}, Truncated: true, Length: 500}
)

// each is a server that gives the same answer in every way.
func each(a wire.DNSAnswer) [countWays]wire.DNSAnswer {
	return [countWays]wire.DNSAnswer{a, a, a, a}
}

func TestTell(t *testing.T) {
	large := [countWays]wire.DNSAnswer{smallUDP: short, wholeUDP: short, largeUDP: many, overTCP: many}
	lost := [countWays]wire.DNSAnswer{smallUDP: short, wholeUDP: silence, largeUDP: silence, overTCP: many}
	fragments := [countWays]wire.DNSAnswer{smallUDP: short, wholeUDP: short, largeUDP: silence, overTCP: many}
	noTCP := [countWays]wire.DNSAnswer{smallUDP: one, wholeUDP: one, largeUDP: one, overTCP: silence}
	type servers = [][countWays]wire.DNSAnswer
	for name, c := range map[string]struct {
		answers []servers // by asker: two DNS pods and the nameserver
		wrong   bool
		want    string
		behind  int
		lost    *asked
	}{
		"one replica knows nothing new": {[]servers{{each(none), each(one), each(one)}, {each(none), each(one), each(none)}}, false,
			"the DNS pod a on n1 answers NXDOMAIN where the DNS pod b on n2 answers 10.96.0.7, to A web. asked from n1 over TCP", 0, nil},
		"the other one": {[]servers{{each(one), each(none), each(one)}}, false,
			"the DNS pod b on n2 answers NXDOMAIN where the DNS pod a on n1 answers 10.96.0.7, to A web. asked from n1 over TCP", 1, nil},
		"large answers lost on the way to the asker's node": {[]servers{{lost, lost, lost}, {large, large, large}}, false,
			"answers over 512 bytes by UDP are lost on the way to node n1, whoever of 2 servers answers; at node n2 they arrive; by TCP they arrive (web. has 1644 bytes)",
			-1, &asked{0, 0, wholeUDP}},
		"on the way to the other": {[]servers{{large, large, large}, {lost, lost, lost}}, false,
			"answers over 512 bytes by UDP are lost on the way to node n2, whoever of 2 servers answers; at node n1 they arrive; by TCP they arrive (web. has 1644 bytes)",
			-1, &asked{1, 0, wholeUDP}},
		"to both": {[]servers{{lost, lost, lost}, {lost, lost, lost}}, false,
			"answers over 512 bytes by UDP are lost on the way to every node that asked, n1 and n2; by TCP they arrive (web. has 1644 bytes)", -1, &asked{0, 0, wholeUDP}},
		"from one DNS pod": {[]servers{{large, lost, large}, {large, lost, large}}, false,
			"answers over 512 bytes by UDP are lost on the way from the DNS pod b on n2, wherever they go; by TCP they arrive (web. has 1644 bytes)", -1, &asked{0, 1, wholeUDP}},
		"fragments alone": {[]servers{{fragments, large, large}, {large, large, large}}, false,
			"answers over 1232 bytes by UDP are lost on the way from the DNS pod a on n1 to node n1; by TCP they arrive (web. has 1644 bytes)", -1, &asked{0, 0, largeUDP}},
		"TCP alone is lost": {[]servers{{noTCP, noTCP, noTCP}, {each(one), each(one), each(one)}}, false,
			"the DNS pod a on n1 does not answer this question over TCP when asked from n1 (timed out); over UDP it does, to node n2 it does", -1, &asked{0, 0, overTCP}},
		"a cache that keeps what is gone": {[]servers{{each(none), each(none), each(one)}}, false,
			"the nameserver 10.96.0.10 answers 10.96.0.7 where each of its 2 DNS pods answers NXDOMAIN, to A web. asked from n1 over TCP: look at what is in between, a cache or the service proxy",
			-1, nil},
		"all alike, and a no": {[]servers{{each(none), each(none), each(none)}, {each(none), each(none), each(none)}}, false,
			"each of 2 DNS pods and the nameserver 10.96.0.10 answers NXDOMAIN to A web., by UDP and TCP, small and large, asked from n1 and n2, and kubernetes.default rightly: only this question is affected",
			-1, nil},
		"all alike, and well": {[]servers{{large, large, large}}, false,
			"none now: each of 2 DNS pods and the nameserver 10.96.0.10 answers 5 records to A web., by UDP and TCP, small and large, asked from n1", -1, nil},
		"all alike, and the wrong one": {[]servers{{each(one), each(one), each(one)}}, true,
			"each of 2 DNS pods and the nameserver 10.96.0.10 answers 10.96.0.7 to A web., by UDP and TCP, small and large, asked from n1", -1, nil},
		"no DNS pod is known": {[]servers{{each(none)}}, false,
			"the nameserver 10.96.0.10 answers NXDOMAIN to A web., by UDP and TCP, small and large, asked from n1, and kubernetes.default rightly: only this question is affected", -1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := &heard{question: wire.DNS{Name: "web.", Type: "A"}, wrong: c.wrong}
			for a, servers := range c.answers {
				h.askers = append(h.askers, []string{"n1", "n2"}[a])
				h.answers = append(h.answers, servers)
			}
			h.servers = []string{"the DNS pod a on n1", "the DNS pod b on n2", "the nameserver 10.96.0.10"}
			h.servers = h.servers[3-len(c.answers[0]):]
			found := h.tell()
			require.Equal(t, c.want, found.text)
			require.Equal(t, c.behind, found.behind)
			require.Equal(t, c.lost, found.lost)
		})
	}
}

func TestDifferent(t *testing.T) {
	usual, odd := []string{"a.svc.cluster.local", "svc.cluster.local", "cluster.local"}, []string{"a.svc.corp.internal", "svc.corp.internal", "corp.internal"}
	server, cache := []string{"10.96.0.10"}, []string{"169.254.20.10"}
	for name, c := range map[string]struct {
		all  []podConfig
		want string
	}{
		"alike": {[]podConfig{{"n1", server, usual}, {"n2", server, usual}}, ""},
		"this node's differs": {[]podConfig{{"n1", server, usual}, {"n2", server, odd}, {"n3", server, usual}},
			"resolv.conf: the kubelet of n2 gives its pods the search domains [a.svc.corp.internal svc.corp.internal corp.internal], those of n1, n3 give [a.svc.cluster.local svc.cluster.local cluster.local]"},
		"another node's differs": {[]podConfig{{"n1", server, odd}, {"n2", server, usual}, {"n3", server, usual}}, ""},
		"one of two": {[]podConfig{{"n1", server, odd}, {"n2", server, usual}},
			"resolv.conf: the kubelet of n2 gives its pods the search domains [a.svc.cluster.local svc.cluster.local cluster.local], those of n1 give [a.svc.corp.internal svc.corp.internal corp.internal]"},
		"the nameserver": {[]podConfig{{"n1", server, usual}, {"n2", cache, usual}, {"n3", server, usual}},
			"resolv.conf: the kubelet of n2 gives its pods the nameservers [169.254.20.10], those of n1, n3 give [10.96.0.10]"},
		"nobody on the node": {[]podConfig{{"n1", server, usual}}, ""},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, different("n2", c.all)) })
	}
}

func TestFailedWatch(t *testing.T) {
	const failed = `[ERROR] plugin/kubernetes: Unhandled Error: Failed to watch *v1.Service: Get "https://10.96.0.1:443/": dial tcp 10.96.0.1:443: i/o timeout`
	require.Equal(t, failed, failedWatch("[INFO] ready\n"+failed+"\n[INFO] 10.0.0.1 A IN x.\n"))
	const ended = "[INFO] plugin/kubernetes: Warning: watch ended with error"
	require.Equal(t, ended, failedWatch(failed+"\n"+ended+"\n"), "as CoreDNS 1.14 says it")
	require.Empty(t, failedWatch("[INFO] ready\n"))
}

func FuzzFailedWatch(f *testing.F) {
	f.Add("Failed to watch \xff")
	f.Fuzz(func(t *testing.T, log string) { require.LessOrEqual(t, len(failedWatch(log)), longestQuote) })
}
