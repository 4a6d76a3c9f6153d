package cluster

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func node(name string, ips, cidrs []string) nodeNet {
	n := nodeNet{Name: name}
	for _, ip := range ips {
		n.IPs = append(n.IPs, netip.MustParseAddr(ip))
	}
	for _, c := range cidrs {
		n.PodCIDRs = append(n.PodCIDRs, netip.MustParsePrefix(c))
	}
	return n
}

func TestNodeScript(t *testing.T) {
	a := node("a", []string{"10.89.0.2", "fd00:1::2"}, []string{"10.244.0.0/24", "fd00:10:244::/64"})
	b := node("b", []string{"10.89.0.3", "fd00:1::3"}, []string{"10.244.1.0/24", "fd00:10:244:1::/64"})
	script, err := nodeScript(a, []nodeNet{a, b})
	require.NoError(t, err)
	require.Contains(t, script, "ip route replace 10.244.1.0/24 via 10.89.0.3\n")
	require.Contains(t, script, "ip route replace fd00:10:244:1::/64 via fd00:1::3\n")
	require.NotContains(t, script, "ip route replace 10.244.0.0/24", "no route to its own pods")
	require.Contains(t, script, "set nodes4 { type ipv4_addr; elements = { 10.89.0.2, 10.89.0.3 }; }")
	require.Contains(t, script, "set nodes6 { type ipv6_addr; elements = { fd00:1::2, fd00:1::3 }; }")
	require.True(t, strings.HasSuffix(script, "mv .10-parley 10-parley.conflist\n"), "the configuration comes last")

	script, err = nodeScript(node("c", []string{"10.89.0.2"}, []string{"10.244.0.0/24"}), nil)
	require.NoError(t, err)
	require.Contains(t, script, "set nodes6 { type ipv6_addr;  }", "an empty set has no elements line")
}

func TestConflistIsJSON(t *testing.T) {
	for _, cidrs := range [][]string{{"10.244.0.0/24"}, {"fd00:10:244::/64"}, {"10.244.0.0/24", "fd00:10:244::/64"}} {
		text, err := conflist(node("a", nil, cidrs))
		require.NoError(t, err)
		var got struct {
			Name    string
			Plugins []struct {
				Type string
				IPAM struct {
					Ranges [][]struct{ Subnet string }
					Routes []struct{ Dst string }
				}
			}
		}
		require.NoError(t, json.Unmarshal([]byte(text), &got), text)
		require.Equal(t, "ptp", got.Plugins[0].Type)
		require.Len(t, got.Plugins[0].IPAM.Ranges, len(cidrs))
		require.Len(t, got.Plugins[0].IPAM.Routes, len(cidrs))
		require.Equal(t, cidrs[0], got.Plugins[0].IPAM.Ranges[0][0].Subnet)
	}
}

func TestNetOf(t *testing.T) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	_, ok := netOf(n)
	require.False(t, ok)
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "a"}, {Type: corev1.NodeInternalIP, Address: "10.89.0.2"}}
	_, ok = netOf(n)
	require.False(t, ok, "no podCIDR yet")
	n.Spec.PodCIDRs = []string{"10.244.0.0/24"}
	got, ok := netOf(n)
	require.True(t, ok)
	require.Equal(t, node("a", []string{"10.89.0.2"}, []string{"10.244.0.0/24"}), got)
}

func TestReadNetwork(t *testing.T) {
	podman := `[{"name":"parley-1-2","network_interface":"podman3","subnets":[{"subnet":"fd12::/64","gateway":"fd12::1"},{"subnet":"10.89.2.0/24"}]}]`
	n, err := readNetwork("1-tounov", []byte(podman))
	require.NoError(t, err)
	require.Equal(t, "podman3", n.Bridge)
	require.Len(t, n.Subnets, 2)

	docker := `[{"Name":"parley-1-2","Id":"ABCDEF0123456789","IPAM":{"Config":[{"Subnet":"172.18.0.0/16"}]},"Options":{}}]`
	n, err = readNetwork("1-tounov", []byte(docker))
	require.NoError(t, err)
	require.Equal(t, "br-abcdef012345", n.Bridge)

	named := `[{"Name":"parley-1-2","Id":"abcdef0123456789","Options":{"com.docker.network.bridge.name":"pl-1-2"}}]`
	n, err = readNetwork("1-tounov", []byte(named))
	require.NoError(t, err)
	require.Equal(t, "pl-1-2", n.Bridge)

	_, err = readNetwork("1-tounov", []byte(`[]`))
	require.Error(t, err)
}

func TestBridgeNameFits(t *testing.T) {
	require.LessOrEqual(t, len(bridgeName("2hwan-zzzzzz-and-more")), 15)
	require.Equal(t, "pl-1-2", bridgeName("1-2"))
	require.Equal(t, 64, uniqueLocal("1-2").Bits())
	require.NotEqual(t, uniqueLocal("1-2"), uniqueLocal("1-3"))
}
