package cluster

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

func TestKindConfig(t *testing.T) {
	ordinary := plan{
		Name: "parley-1-2", Workers: 2, SysResource: true,
		Image: Image{Ref: "kindest/node:v1.36.3", Kubernetes: "v1.36.3"},
	}
	for name, tc := range map[string]struct {
		plan  func(*plan)
		check func(*testing.T, *v1alpha4.Cluster)
	}{
		"ordinary": {func(*plan) {}, func(t *testing.T, c *v1alpha4.Cluster) {
			require.Equal(t, "parley-1-2", c.Name)
			require.Len(t, c.Nodes, 3)
			require.Equal(t, v1alpha4.ControlPlaneRole, c.Nodes[0].Role)
			require.Equal(t, v1alpha4.WorkerRole, c.Nodes[2].Role)
			require.Equal(t, "parley-a", c.Nodes[0].Labels["topology.kubernetes.io/zone"])
			require.Equal(t, "parley-a", c.Nodes[1].Labels["topology.kubernetes.io/zone"])
			require.Equal(t, "parley-b", c.Nodes[2].Labels["topology.kubernetes.io/zone"])
			require.Equal(t, "kindest/node:v1.36.3", c.Nodes[1].Image)
			require.Equal(t, v1alpha4.IPv4Family, c.Networking.IPFamily)
			require.Equal(t, v1alpha4.IPTablesProxyMode, c.Networking.KubeProxyMode)
			require.False(t, c.Networking.DisableDefaultCNI)
			require.Empty(t, c.KubeadmConfigPatches)
			require.Empty(t, c.ContainerdConfigPatches)
			require.Empty(t, c.Nodes[0].ExtraMounts)
		}},
		"one node": {func(p *plan) { p.Workers = 0 }, func(t *testing.T, c *v1alpha4.Cluster) {
			require.Len(t, c.Nodes, 1)
		}},
		"axes": {func(p *plan) { p.ProxyMode, p.Family = "nftables", "dual" }, func(t *testing.T, c *v1alpha4.Cluster) {
			require.Equal(t, v1alpha4.NFTablesProxyMode, c.Networking.KubeProxyMode)
			require.Equal(t, v1alpha4.DualStackFamily, c.Networking.IPFamily)
			require.Equal(t, podSubnet4+","+podSubnet6, c.Networking.PodSubnet)
			require.Equal(t, serviceSubnet4+","+serviceSubnet6, c.Networking.ServiceSubnet)
		}},
		"cgroup v1": {func(p *plan) { p.CgroupV1 = true }, func(t *testing.T, c *v1alpha4.Cluster) {
			require.Len(t, c.KubeadmConfigPatches, 1)
			require.Contains(t, c.KubeadmConfigPatches[0], "failCgroupV1: false")
		}},
		"cgroup v1, older kubelet": {func(p *plan) { p.CgroupV1, p.Image.Kubernetes = true, "v1.34.2" }, func(t *testing.T, c *v1alpha4.Cluster) {
			require.Empty(t, c.KubeadmConfigPatches)
		}},
		"cgroup v1, unknown kubelet": {func(p *plan) { p.CgroupV1, p.Image.Kubernetes = true, "" }, func(t *testing.T, c *v1alpha4.Cluster) {
			require.Len(t, c.KubeadmConfigPatches, 1)
		}},
		"capability missing, kind's image": {func(p *plan) { p.SysResource = false }, func(t *testing.T, c *v1alpha4.Cluster) {
			require.Contains(t, strings.Join(c.KubeadmConfigPatches, "\n"), "KubeletInUserNamespace: true")
			require.Contains(t, strings.Join(c.ContainerdConfigPatches, "\n"), "restrict_oom_score_adj = true")
		}},
		"offline image": {func(p *plan) { p.SysResource, p.Image.Offline = false, true }, func(t *testing.T, c *v1alpha4.Cluster) {
			require.True(t, c.Networking.DisableDefaultCNI)
			require.Len(t, c.KubeadmConfigPatches, 1)
			require.Empty(t, c.ContainerdConfigPatches)
		}},
		"patches of the run's": {func(p *plan) { p.Containerd, p.Kubelet = []string{"a", "b"}, []string{"c"} }, func(t *testing.T, c *v1alpha4.Cluster) {
			require.Equal(t, []string{"a", "b"}, c.ContainerdConfigPatches)
			require.Equal(t, []string{"c"}, c.KubeadmConfigPatches)
		}},
		"resolver": {func(p *plan) { p.NodeFiles = "/tmp/parley-1-2/node" }, func(t *testing.T, c *v1alpha4.Cluster) {
			require.Contains(t, c.KubeadmConfigPatches[0], "resolvConf: "+inNode+"/resolv.conf")
			for _, n := range c.Nodes {
				require.Len(t, n.ExtraMounts, 2)
				require.Equal(t, "/tmp/parley-1-2/node", n.ExtraMounts[0].HostPath)
				require.True(t, n.ExtraMounts[0].Readonly)
			}
		}},
		"another runtime": {func(p *plan) { p.Runtime, p.SysResource = "crio", false }, func(t *testing.T, c *v1alpha4.Cluster) {
			require.Equal(t, 2, strings.Count(strings.Join(c.KubeadmConfigPatches, "\n"), "criSocket: unix:///var/run/crio/crio.sock"))
			require.Empty(t, c.ContainerdConfigPatches)
		}},
		"a runtime with cgroupfs": {func(p *plan) { p.Runtime, p.CgroupV1 = "docker", true }, func(t *testing.T, c *v1alpha4.Cluster) {
			require.Contains(t, strings.Join(c.KubeadmConfigPatches, "\n"), "cgroupDriver: cgroupfs")
			require.Contains(t, strings.Join(c.KubeadmConfigPatches, "\n"), "failCgroupV1: false")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := ordinary
			tc.plan(&p)
			c, err := kindConfig(p)
			require.NoError(t, err)
			tc.check(t, c)
		})
	}
	_, err := kindConfig(plan{Options: Options{Family: "ipv5"}})
	require.ErrorContains(t, err, "choose ipv4, ipv6 or dual")
}

func TestPhaseOf(t *testing.T) {
	for line, want := range map[string]string{
		" • Preparing nodes 📦 📦 📦   ...\n":    "kind: preparing nodes",
		" • Starting control-plane 🕹️  ...\n": "kind: starting control-plane",
		" ✓ Preparing nodes 📦 \n":             "",
		"Creating cluster \"x\" ...\n":        "",
		" • 📦 ...":                            "",
	} {
		name, ok := phaseOf(line)
		require.Equal(t, want != "", ok, line)
		require.Equal(t, want, name, line)
	}
}

func TestTellingLine(t *testing.T) {
	require.Equal(t, "error: could not bootstrap", errorLine("I1 starting\nerror: could not bootstrap\nto see the trace use -v=5\n"))
	require.Equal(t, "[ERROR Port-6443]: in use", errorLine("x\n[ERROR Port-6443]: in use\n\n"))
	require.Equal(t, "last", errorLine("first\nlast\n\n"))
	require.Empty(t, errorLine(""))
}
