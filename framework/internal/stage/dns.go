package stage

import (
	"context"
	"encoding/json"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// nameService is what the world needs to know of the cluster's DNS.
type nameService struct {
	server string // the first resolver that kubelets give to pods
	domain string
}

// lookForDNS asks a kubelet for the resolver that it gives to pods, and for the cluster domain. Where that is
// forbidden, the Service kube-dns and the usual domain stand in.
func lookForDNS(ctx context.Context, kube kubernetes.Interface, node string) nameService {
	s := nameService{domain: "cluster.local"}
	s.readKubelet(ctx, kube, node)
	if s.server == "" {
		if dns, err := kube.CoreV1().Services(metav1.NamespaceSystem).Get(ctx, "kube-dns", metav1.GetOptions{}); err == nil {
			s.server = dns.Spec.ClusterIP
		}
	}
	return s
}

// readKubelet takes the resolver and the domain from configz; a cluster that forbids it has the usual ones.
func (s *nameService) readKubelet(ctx context.Context, kube kubernetes.Interface, node string) {
	raw, err := kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix("configz").DoRaw(ctx)
	if err != nil {
		return
	}
	var config struct {
		Kubelet struct {
			ClusterDNS    []string `json:"clusterDNS"`
			ClusterDomain string   `json:"clusterDomain"`
		} `json:"kubeletconfig"`
	}
	if json.Unmarshal(raw, &config) != nil {
		return
	}
	if len(config.Kubelet.ClusterDNS) > 0 {
		s.server = config.Kubelet.ClusterDNS[0]
	}
	if config.Kubelet.ClusterDomain != "" {
		s.domain = strings.TrimSuffix(config.Kubelet.ClusterDomain, ".")
	}
}
