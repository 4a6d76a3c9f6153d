package addresses

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

func seen(p corev1.Pod, inside ...string) Seen {
	s := Seen{Pod: &p}
	for _, ip := range inside {
		s.Inside = append(s.Inside, netip.MustParseAddr(ip))
	}
	return s
}

func TestTwice(t *testing.T) {
	for name, c := range map[string]struct {
		all  []Seen
		want string
	}{
		"each its own": {[]Seen{seen(pod("a", nil, "10.0.0.2"), "10.0.0.2"), seen(pod("b", nil, "10.0.0.3"), "10.0.0.3")}, ""},
		"another's":    {[]Seen{seen(pod("a", nil, "10.0.0.2"), "10.0.0.2"), seen(pod("b", nil, "10.0.0.3"), "10.0.0.3", "10.0.0.2")}, "10.0.0.2 of a in b"},
		"a bridge":     {[]Seen{seen(pod("a", nil, "10.0.0.2"), "10.0.0.2", "172.17.0.1"), seen(pod("b", nil, "10.0.0.3"), "10.0.0.3", "172.17.0.1")}, ""},
		"not seen":     {[]Seen{seen(pod("a", nil, "10.0.0.2")), seen(pod("b", nil, "10.0.0.3"))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if ip, owner, other, ok := Twice(c.all); ok {
				got = ip.String() + " of " + owner.Name + " in " + other.Name
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestMissing(t *testing.T) {
	require.Empty(t, seen(pod("a", nil, "10.0.0.2", "fd00::2"), "fd00::2", "10.0.0.2", "172.17.0.1").Missing())
	require.Equal(t, "fd00::2", seen(pod("a", nil, "10.0.0.2", "fd00::2"), "10.0.0.2").Missing())
	require.Empty(t, seen(pod("a", nil, "10.0.0.2")).Missing(), "a kernel of its own")
}

// agent is one on the node n, where these processes are; each network namespace has the address of its inode.
type agent []wire.ProcessInfo

func (a agent) answer(op wire.Op, args json.RawMessage) any {
	if op == wire.OpProcess {
		return wire.ProcessResult{Processes: a}
	}
	var l wire.InspectNetns
	_ = json.Unmarshal(args, &l)
	if l.Netns == 9 {
		return wire.NetnsState{Errno: wire.Errno{Class: wire.NotThere}}
	}
	return wire.NetnsState{Addresses: []string{"127.0.0.1/8 dev lo", "fe80::1/64 dev eth0", netip.AddrFrom4([4]byte{10, 0, 0, byte(l.Netns)}).String() + "/24 dev eth0"}}
}

func TestLookInside(t *testing.T) {
	host, elsewhere, ended, silent, gone := pod("h", nil), pod("e", nil, "10.0.0.4"), pod("f", nil, "10.0.0.5"), pod("silent", nil, "10.0.0.6"), pod("g-1", nil, "10.0.0.7")
	host.Spec.HostNetwork, elsewhere.Spec.NodeName, ended.Status.Phase = true, "m", corev1.PodSucceeded
	static := pod("mirror", nil, "10.0.0.3")
	static.Annotations = map[string]string{"kubernetes.io/config.hash": "hash"}
	processes := agent{{PID: 1, Net: 1, Cgroup: "/"}, {PID: 2, Net: 2, Cgroup: "/kubepods/poda-a/c1"}, {PID: 3, Net: 3, Cgroup: "/kubepods.slice/kubepods-podhash.slice"},
		{PID: 4, Net: 9, Cgroup: "/kubepods.slice/kubepods-podg_1.slice"}, {PID: 5, Net: 1, Cgroup: "/kubepods/podh"}, {PID: 6, Net: 5, Cgroup: "/kubepods/podf"}}
	end := &requirement.End{Node: "n", Agent: probe.New("n", fakeagent.Answer(processes.answer))}
	t.Cleanup(func() { _ = end.Close() })
	all, err := LookInside(t.Context(), []*requirement.End{end}, []corev1.Pod{pod("a-a", nil, "10.0.0.2"), static, host, elsewhere, ended, silent, gone})
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "a-a", all[0].Pod.Name)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.0.0.2")}, all[0].Inside)
	require.Equal(t, "mirror", all[1].Pod.Name)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.0.0.3")}, all[1].Inside)
}
