package cluster

import (
	"fmt"
	"net/netip"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"github.com/parley-k8s/parley/manifests"
)

// kind's own defaults, named since the nodes' network must know them.
const (
	podSubnet4, podSubnet6         = "10.244.0.0/16", "fd00:10:244::/56"
	serviceSubnet4, serviceSubnet6 = "10.96.0.0/16", "fd00:10:96::/112"
)

// zones are those that the nodes lie in by their label, two in each before the next: of three nodes the last is alone, so that
// a zone has some of a Service's endpoints and not all.
var zones = []string{"parley-a", "parley-b"}

func podSubnets() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix(podSubnet4), netip.MustParsePrefix(podSubnet6)}
}

// inNode is where a node finds the run's files (nodeFiles).
const inNode = "/kind/parley"

// plan is what decides a cluster's kind configuration.
type plan struct {
	Name    string
	Image   Image
	Workers int
	Options
	CgroupV1 bool
	// SysResource says whether nodes get CAP_SYS_RESOURCE.
	SysResource bool
	// NodeFiles is the folder that nodes see as inNode; "" where there is no resolver.
	NodeFiles string
	// Containerd and Kubelet are the Spec's.
	Containerd, Kubelet []string
}

// kindConfig is manifests/kind/cluster.yaml as the plan asks, with the patches that the host needs.
func kindConfig(p plan) (*v1alpha4.Cluster, error) {
	raw, err := manifests.Kind.ReadFile("kind/cluster.yaml")
	if err != nil {
		return nil, err
	}
	var cfg v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(raw, &cfg); err != nil {
		return nil, fmt.Errorf("reading kind/cluster.yaml: %w", err)
	}
	cfg.Name = p.Name
	cfg.Nodes = []v1alpha4.Node{{Role: v1alpha4.ControlPlaneRole, Image: p.Image.Ref}}
	for range p.Workers {
		cfg.Nodes = append(cfg.Nodes, v1alpha4.Node{Role: v1alpha4.WorkerRole, Image: p.Image.Ref})
	}
	for i := range cfg.Nodes {
		cfg.Nodes[i].Labels = map[string]string{corev1.LabelTopologyZone: zones[i/2%len(zones)]}
	}
	net := &cfg.Networking
	net.DisableDefaultCNI = p.Image.Offline
	if err := p.configure(net); err != nil {
		return nil, err
	}
	// Published on the host's IPv4 loopback for every family: the kernel does not forward from ::1.
	net.APIServerAddress = "127.0.0.1"
	runtime, err := RuntimeOf(p.Runtime)
	if err != nil {
		return nil, err
	}
	if err := patch(&cfg, p, runtime); err != nil {
		return nil, err
	}
	patches, err := runtime.patches(p.Image.Kubernetes)
	if err != nil {
		return nil, err
	}
	cfg.KubeadmConfigPatches = append(cfg.KubeadmConfigPatches, patches...)
	return &cfg, nil
}

// patch adds the patches that the host, and the run's resolver, need.
func patch(cfg *v1alpha4.Cluster, p plan, runtime Runtime) error {
	for _, one := range []struct {
		file string
		to   *[]string
		when bool
	}{
		{"kubelet-cgroup-v1.yaml", &cfg.KubeadmConfigPatches, p.CgroupV1 && knowsFailCgroupV1(p.Image.Kubernetes)},
		{"kubelet-no-sys-resource.yaml", &cfg.KubeadmConfigPatches, !p.SysResource},
		// The offline image was built for this host and needs no patch, which costs a restart of containerd; another runtime's
		// image has no containerd that kind could restart.
		{"containerd-no-sys-resource.toml", &cfg.ContainerdConfigPatches, !p.SysResource && !p.Image.Offline && runtime.Layer == nil},
		{"kubelet-resolver.yaml", &cfg.KubeadmConfigPatches, p.NodeFiles != ""},
	} {
		if !one.when {
			continue
		}
		text, err := manifests.Kind.ReadFile("kind/" + one.file)
		if err != nil {
			return err
		}
		*one.to = append(*one.to, string(text))
	}
	cfg.ContainerdConfigPatches = append(cfg.ContainerdConfigPatches, p.Containerd...)
	cfg.KubeadmConfigPatches = append(cfg.KubeadmConfigPatches, p.Kubelet...)
	if p.NodeFiles == "" {
		return nil
	}
	for i := range cfg.Nodes {
		cfg.Nodes[i].ExtraMounts = []v1alpha4.Mount{
			{HostPath: p.NodeFiles, ContainerPath: inNode, Readonly: true},
			{
				HostPath:      filepath.Join(p.NodeFiles, controlPlaneNameUnit),
				ContainerPath: "/etc/systemd/system/kubelet.service.d/20-" + controlPlaneNameUnit,
				Readonly:      true,
			},
		}
	}
	return nil
}

// knowsFailCgroupV1 says whether a kubelet must be told that cgroup v1 is meant: from 1.35 on it refuses else.
// An unknown version counts as new.
func knowsFailCgroupV1(kubernetes string) bool {
	v, err := version.ParseGeneric(kubernetes)
	return err != nil || v.AtLeast(version.MajorMinor(1, 35))
}
