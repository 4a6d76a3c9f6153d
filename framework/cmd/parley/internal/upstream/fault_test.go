package upstream

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func three() []node {
	at := func(name, ip, pods string, worker bool) node {
		return node{name: name, worker: worker, ip: netip.MustParseAddr(ip), pods: netip.MustParsePrefix(pods)}
	}
	return []node{
		at("control-plane", "10.89.0.2", "10.244.0.0/28", false),
		at("worker", "10.89.0.3", "10.244.1.0/28", true),
		at("worker2", "10.89.0.4", "10.244.2.0/28", true),
	}
}

func TestFaultNodes(t *testing.T) {
	names := func(f Fault) (all []string) {
		for _, n := range f.affected(three()) {
			all = append(all, n.name)
		}
		return all
	}
	require.Empty(t, names(Healthy))
	require.Equal(t, []string{"worker2"}, names(Faults[0]), "the masquerade is on one worker alone")
	for _, f := range Faults[1:] {
		require.Len(t, names(f), 3, f.Name)
	}
}

func TestScript(t *testing.T) {
	for _, f := range Faults {
		t.Run(f.Name, func(t *testing.T) {
			script, err := f.script("parley-1-abcdef-fault", three()[1], three())
			require.NoError(t, err)
			require.Contains(t, script, "set own { type ipv4_addr; flags interval; elements = { 10.244.1.0/28 } }")
			require.Contains(t, script, "elements = { 10.244.0.0/28, 10.244.2.0/28 }", "the other nodes' pods")
			require.Contains(t, script, "elements = { 10.89.0.2, 10.89.0.4 }", "the other nodes")
			require.Equal(t, 16, strings.Count(script, " . 10.244.1."), "each address of the node's pods with itself")
			require.Contains(t, script, "counter name acted")
			accepted(t, script)
		})
	}
	udp, err := Faults[3].script("t", three()[1], three())
	require.NoError(t, err)
	require.Less(t, strings.Index(udp, "udp sport 53 accept"), strings.Index(udp, "l4proto udp"), "DNS passes before the rest is dropped")
}

// accepted has this machine's nft read the script, without carrying it out.
func accepted(t *testing.T, script string) {
	if _, err := exec.LookPath("nft"); err != nil || os.Geteuid() != 0 {
		t.Skip("no nft, or not root")
	}
	cmd := exec.Command("nft", "-c", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestScriptRefuses(t *testing.T) {
	_, err := Faults[2].script("t", three()[1], three()[1:2])
	require.ErrorContains(t, err, "needs two")
	large := three()
	large[0].pods = netip.MustParsePrefix("10.0.0.0/8")
	_, err = Faults[1].script("t", large[0], large)
	require.ErrorContains(t, err, "too large")
}

func TestInjector(t *testing.T) {
	var calls []string
	fail := ""
	i := injector{table: "parley-fault", nodes: three(), command: func(ctx context.Context, node string, argv ...string) (*exec.Cmd, error) {
		call := node + " " + strings.Join(argv, " ")
		calls = append(calls, call)
		if node == fail {
			return nil, errors.New("gone")
		}
		if strings.Contains(call, "list counter") {
			return exec.CommandContext(ctx, "echo", `{"nftables":[{"metainfo":{}},{"counter":{"name":"acted","packets":7,"bytes":1}}]}`), nil
		}
		return exec.CommandContext(ctx, "cat"), nil
	}}
	require.NoError(t, i.inject(t.Context(), Faults[0]))
	require.Equal(t, []string{"worker2 nft -f -"}, calls)
	acted, err := i.acted(t.Context(), Faults[1])
	require.NoError(t, err)
	require.EqualValues(t, 21, acted, "of all three nodes")

	calls, fail = nil, "control-plane"
	require.ErrorContains(t, i.lift(t.Context(), Faults[1]), "hairpin dropped")
	require.Len(t, calls, 3, "what can be lifted is, whatever fails")
	require.ErrorContains(t, i.inject(t.Context(), Faults[1]), "gone")
	require.NoError(t, i.lift(t.Context(), Healthy))
}

func TestCounted(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "reading nft's counter",
		`{}`:                          "no counter",
		`{"nftables":[{"table":{}}]}`: "no counter",
		`{"nftables":[{"counter":{"packets":-1}}]}`: "reading nft's counter",
	} {
		_, err := parseCounter([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
}

func TestNodesOf(t *testing.T) {
	list := []corev1.Node{
		{ObjectMeta: metav1.ObjectMeta{Name: "cp", Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}},
			Spec:   corev1.NodeSpec{PodCIDR: "10.244.0.0/24"},
			Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "cp"}, {Type: corev1.NodeInternalIP, Address: "10.89.0.2"}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "w"}, Spec: corev1.NodeSpec{PodCIDR: "10.244.1.0/24"},
			Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "fd00::3"}, {Type: corev1.NodeInternalIP, Address: "10.89.0.3"}}}},
	}
	got, err := nodesOf(list)
	require.NoError(t, err)
	require.Equal(t, []node{
		{name: "cp", ip: netip.MustParseAddr("10.89.0.2"), pods: netip.MustParsePrefix("10.244.0.0/24")},
		{name: "w", worker: true, ip: netip.MustParseAddr("10.89.0.3"), pods: netip.MustParsePrefix("10.244.1.0/24")},
	}, got)
	list[1].Spec.PodCIDR = "fd00:10:244:1::/64"
	_, err = nodesOf(list)
	require.ErrorContains(t, err, "node w has no IPv4 podCIDR")
}

func TestExecute(t *testing.T) {
	log := t.TempDir() + "/output.txt"
	_, code, err := execute(t.Context(), exec.CommandContext(t.Context(), "sh", "-c", "echo said; exit 3"), log)
	require.NoError(t, err, "an exit code is the caller's to judge")
	require.Equal(t, 3, code)
	f, err := os.Open(log)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	said, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "said\n", string(said))
	require.Equal(t, "said (all of it: "+log+")", lastLine(log))
	require.Contains(t, lastLine(log+".none"), "all of it")

	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	_, _, err = execute(ended, exec.CommandContext(ended, "sleep", "600"), log)
	require.ErrorContains(t, err, "enough")
}
