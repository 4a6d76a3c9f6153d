package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Facts describe a cluster. A field that could not be read is "not told", or empty.
type Facts struct {
	Kubernetes string `json:"kubernetes"` // the API server's version
	Nodes      []Node `json:"nodes"`
	CNI        string `json:"cni"`
	// ProxyMode is kube-proxy's mode, or the name of what replaces it.
	ProxyMode string `json:"proxyMode"`
	// Families are the IP families of the cluster's pods, the primary one first.
	Families []corev1.IPFamily `json:"families"`
	// NodeImage and NodeImageFrom are known for clusters that Parley made.
	NodeImage     string `json:"nodeImage,omitempty"`
	NodeImageFrom string `json:"nodeImageFrom,omitempty"`
	Owned         bool   `json:"owned"`
}

// Node is one node of a cluster.
type Node struct {
	Name           string   `json:"name"`
	Role           string   `json:"role"` // control-plane or worker
	InternalIPs    []string `json:"internalIPs"`
	PodCIDRs       []string `json:"podCIDRs,omitempty"`
	OSImage        string   `json:"osImage"`
	Kernel         string   `json:"kernel"`
	Architecture   string   `json:"architecture"`
	Kubelet        string   `json:"kubelet"`
	RuntimeVersion string   `json:"runtimeVersion"`
	Ready          bool     `json:"ready"`
	// Taints that keep ordinary pods off (NoSchedule, NoExecute), as key:effect.
	Taints []string `json:"taints,omitempty"`
}

const notKnown = "not told"

// factsTimeout bounds the reading of all facts.
const factsTimeout = 30 * time.Second

// Facts reads the facts from the API server. Only the nodes must be readable, else it is an error: what else the user's
// rights don't reach is "not told".
func (c *Cluster) Facts(ctx context.Context) (Facts, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, factsTimeout, fmt.Errorf("not done within %s", factsTimeout))
	defer cancel()
	f := Facts{Kubernetes: notKnown, CNI: notKnown, ProxyMode: notKnown, Owned: c.Owned()}
	if c.Owned() {
		f.NodeImage, f.NodeImageFrom = c.spec.Image.Ref, c.spec.Image.From
	}
	var nodes *corev1.NodeList
	var daemons *appsv1.DaemonSetList
	var dns *corev1.PodList
	var service *corev1.Service
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		nodes, err = c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err
	})
	// The rest is read as far as the user's rights reach.
	group.Go(func() error {
		if v, err := c.client.Discovery().ServerVersion(); err == nil {
			f.Kubernetes = v.GitVersion
		}
		return nil
	})
	group.Go(func() error {
		daemons, _ = c.client.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
		return nil
	})
	group.Go(func() error {
		dns, _ = c.client.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
		return nil
	})
	group.Go(func() error {
		service, _ = c.client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
		return nil
	})
	group.Go(func() error {
		if mode := proxyMode(ctx, c.client); mode != "" {
			f.ProxyMode = mode
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return f, fmt.Errorf("reading the cluster's nodes: %w", err)
	}
	f.Nodes = readNodes(nodes.Items)
	f.Families = families(service, f.Nodes, dns)
	if daemons != nil {
		f.CNI = detectCNI(daemons.Items, f.Nodes)
		if f.ProxyMode == notKnown {
			f.ProxyMode = replacedProxy(daemons.Items)
		}
	}
	if c.Owned() && c.spec.Image.Offline && f.CNI == notKnown {
		f.CNI = "reference plugins (ptp, host-local, portmap) with host routes"
	}
	return f, nil
}

func readNodes(items []corev1.Node) []Node {
	var nodes []Node
	for _, item := range items {
		info := item.Status.NodeInfo
		n := Node{
			Name: item.Name, Role: "worker", PodCIDRs: item.Spec.PodCIDRs,
			OSImage: info.OSImage, Kernel: info.KernelVersion, Architecture: info.Architecture,
			Kubelet: info.KubeletVersion, RuntimeVersion: info.ContainerRuntimeVersion,
		}
		for label := range item.Labels {
			if label == "node-role.kubernetes.io/control-plane" || label == "node-role.kubernetes.io/master" {
				n.Role = "control-plane"
			}
		}
		for _, a := range item.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				n.InternalIPs = append(n.InternalIPs, a.Address)
			}
		}
		for _, cond := range item.Status.Conditions {
			n.Ready = n.Ready || cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue
		}
		for _, t := range item.Spec.Taints {
			if t.Effect != corev1.TaintEffectPreferNoSchedule {
				n.Taints = append(n.Taints, t.Key+":"+string(t.Effect))
			}
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Role+a.Name, b.Role+b.Name) })
	return nodes
}

// families are the IP families of the kubernetes Service, then of the nodes' podCIDRs and, where pods get their addresses
// from elsewhere, of the name service's pods.
func families(service *corev1.Service, nodes []Node, dns *corev1.PodList) []corev1.IPFamily {
	var found []corev1.IPFamily
	add := func(f corev1.IPFamily) {
		if !slices.Contains(found, f) {
			found = append(found, f)
		}
	}
	of := func(ip netip.Addr) {
		if ip.Is4() {
			add(corev1.IPv4Protocol)
		} else {
			add(corev1.IPv6Protocol)
		}
	}
	if service != nil {
		for _, f := range service.Spec.IPFamilies {
			add(f)
		}
	}
	for _, n := range nodes {
		for _, s := range n.PodCIDRs {
			if p, err := netip.ParsePrefix(s); err == nil {
				of(p.Addr())
			}
		}
	}
	if dns != nil {
		for _, pod := range dns.Items {
			for _, ip := range pod.Status.PodIPs {
				if a, err := netip.ParseAddr(ip.IP); err == nil && !pod.Spec.HostNetwork {
					of(a)
				}
			}
		}
	}
	return found
}

// cniDaemons are the daemon sets by which CNIs are known, by how their names begin.
var cniDaemons = []struct{ prefix, name string }{
	{"kindnet", "kindnet"},
	{"cilium", "cilium"},
	{"calico-node", "calico"},
	{"canal", "canal"},
	{"kube-flannel", "flannel"},
	{"antrea-agent", "antrea"},
	{"kube-router", "kube-router"},
	{"ovnkube-node", "ovn-kubernetes"},
	{"kube-ovn-cni", "kube-ovn"},
	{"weave-net", "weave"},
	{"aws-node", "amazon-vpc-cni"},
	{"azure-cns", "azure-cni"},
	{"anetd", "gke dataplane v2"},
}

// detectCNI names the CNI by its daemon set, with the version that its image's tag has.
func detectCNI(daemons []appsv1.DaemonSet, nodes []Node) string {
	for _, cni := range cniDaemons {
		for _, d := range daemons {
			if strings.HasPrefix(d.Name, cni.prefix) && d.Name != "cilium-envoy" {
				return cni.name + tagOf(d)
			}
		}
	}
	// k3s and its kin run flannel inside their own process.
	for _, n := range nodes {
		if strings.Contains(n.Kubelet, "+k3s") {
			return "flannel (k3s)"
		}
	}
	return notKnown
}

// tagOf is a daemon's version as its image's tag says.
func tagOf(d appsv1.DaemonSet) string {
	for _, c := range d.Spec.Template.Spec.Containers {
		image, _, _ := strings.Cut(c.Image, "@")
		if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
			return " " + image[i+1:]
		}
	}
	return ""
}
