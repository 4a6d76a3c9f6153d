package diagnose

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// insideVariable tells a process of these tests that it is in a network namespace of its own, which it may break.
const insideVariable = "PARLEY_TEST_DIAGNOSE_NETNS"

// TestByTheKernelsOwnCounters runs the tests of real packets in a network namespace of their own.
func TestByTheKernelsOwnCounters(t *testing.T) {
	if os.Getenv(insideVariable) != "" {
		t.Skip("this is the other process")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestInsideANamespace$", "-test.v")
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Skip("no network namespace can be made here: " + err.Error())
	}
	require.NoError(t, err, string(out))
}

func TestInsideANamespace(t *testing.T) {
	if os.Getenv(insideVariable) == "" {
		t.Skip("it is run by TestByTheKernelsOwnCounters")
	}
	if up, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Skip("lo can't be set up: " + string(up))
	}
	for name, c := range map[string]struct {
		protocol string
		fault    wire.Rule
		want     []string
	}{
		"one in five lost": {"udp", wire.Rule{Hook: "input", Proto: "udp", ToPort: 20022, EveryNth: 5, Do: "drop"},
			[]string{"of 50 exchanges over udp 10 end with timed out", "10 of 50 packets are lost on n1 (50: reaches n1; 40: is delivered in n1)",
				"from server on n1 to client on n1 0 of 40 packets are lost", "n1: rule ", "nftables chain inet parley-fault filter-input-0 drops it"}},
		"every second SYN lost": {"tcp", wire.Rule{Hook: "input", Proto: "tcp", ToPort: 20022, Flags: "syn", EveryNth: 2, Do: "drop"},
			[]string{" need a second SYN", "SYNs are lost on n1 (", "nftables chain inet parley-fault filter-input-0 drops it"}},
		"nothing lost": {"tcp", wire.Rule{Hook: "input", Proto: "tcp", ToPort: 9, Do: "drop"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			end := func(pod string) *requirement.End {
				dialer, stop, err := probe.Local("a key")
				require.NoError(t, err)
				t.Cleanup(stop)
				agent := probe.New(pod, dialer)
				t.Cleanup(func() { _ = agent.Close() })
				return &requirement.End{Agent: agent, Pod: pod, Node: "n1", HostNetwork: true, IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
			}
			client, server, node := end("client"), end("server"), end("node")
			fault := wire.Filter{Do: "add", Table: "parley-fault", Rules: []wire.Rule{c.fault}}
			added, err := node.Filter(t.Context(), fault)
			require.NoError(t, probe.Either(added.Errno, err))
			defer func() {
				gone, err := node.Filter(t.Context(), wire.Filter{Do: "remove", Table: "parley-fault"})
				require.NoError(t, probe.Either(gone.Errno, err))
			}()
			w := &walk{rules: true, failure: &requirement.Failure{From: client, To: server, Protocol: c.protocol}, env: &requirement.Env{
				Requirement: &requirement.Requirement{ID: "pod/x"}, Kube: fake.NewClientset(), Family: corev1.IPv4Protocol, Attempt: 2500 * time.Millisecond,
				Base: 20000, World: world.Plan{Prefix: "parley-x"}, Players: onlyDialers{fakePlayers{ends: map[world.Role][]*requirement.End{world.Node: {node}}}}}}
			told := w.repeated(t.Context(), client, server)
			t.Log(told + "\n" + strings.Join(w.seen, "\n"))
			for _, want := range c.want {
				require.Contains(t, told, want)
			}
			require.Equal(t, c.want == nil, told == "")
		})
	}
}

// onlyDialers are players whose nodes have no programs.
type onlyDialers struct{ fakePlayers }

func (onlyDialers) Dialer(*requirement.End, ...string) probe.Dialer {
	return probe.Command("/nonexistent", nil, nil)
}
