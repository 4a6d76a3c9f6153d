package cluster

import (
	"fmt"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// Options are what clusters that are made here can differ in; "" is the default of each.
type Options struct {
	Family    string // of pods and Services: ipv4, which is the default, ipv6 or dual
	ProxyMode string // of kube-proxy: iptables, which is the default, nftables or ipvs
	Runtime   string // of the nodes, by the name of one of Runtimes
}

// configure has kind's configuration say what the options ask for, apart from the runtime's patches, which are for a version of
// Kubernetes.
func (o Options) configure(net *v1alpha4.Networking) error {
	if o.ProxyMode != "" {
		net.KubeProxyMode = v1alpha4.ProxyMode(o.ProxyMode)
	}
	switch o.Family {
	case "", "ipv4":
		net.PodSubnet, net.ServiceSubnet = podSubnet4, serviceSubnet4
	case "ipv6":
		net.PodSubnet, net.ServiceSubnet = podSubnet6, serviceSubnet6
	case "dual":
		net.PodSubnet, net.ServiceSubnet = podSubnet4+","+podSubnet6, serviceSubnet4+","+serviceSubnet6
	default:
		return fmt.Errorf("%q is no IP family: choose ipv4, ipv6 or dual", o.Family)
	}
	if o.Family != "" {
		net.IPFamily = v1alpha4.ClusterIPFamily(o.Family)
	}
	return nil
}
