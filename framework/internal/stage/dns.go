package stage

import (
	"context"
	"encoding/json"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/parley-k8s/parley/framework/internal/nodehealth"
)

// nameService is what the world needs to know of the cluster's DNS.
type nameService struct {
	server string // the first resolver that kubelets give to pods
	domain string
}

// mostAsked is how many kubelets are asked for the resolver, where the first do not answer.
const mostAsked = 3

// lookForDNS asks a kubelet for the resolver that it gives to pods, and for the cluster domain. Where that is
// forbidden, the Service kube-dns and the usual domain stand in.
func lookForDNS(ctx context.Context, kube kubernetes.Interface, nodes []string) nameService {
	s := nameService{domain: "cluster.local"}
	for _, node := range nodes[:min(len(nodes), mostAsked)] {
		if s.readKubelet(ctx, kube, node) {
			break
		}
	}
	if s.server == "" {
		if dns, err := kube.CoreV1().Services(metav1.NamespaceSystem).Get(ctx, "kube-dns", metav1.GetOptions{}); err == nil {
			s.server = dns.Spec.ClusterIP
		}
	}
	return s
}

// readKubelet takes the resolver and the domain from configz, and says whether a kubelet told of them; a cluster that forbids it has the
// usual ones.
func (s *nameService) readKubelet(ctx context.Context, kube kubernetes.Interface, node string) bool {
	ctx, cancel := context.WithTimeout(ctx, nodehealth.AskWithin)
	defer cancel()
	raw, err := kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix("configz").DoRaw(ctx)
	if err != nil {
		return apierrors.IsForbidden(err)
	}
	var config struct {
		Kubelet struct {
			ClusterDNS    []string `json:"clusterDNS"`
			ClusterDomain string   `json:"clusterDomain"`
		} `json:"kubeletconfig"`
	}
	if json.Unmarshal(raw, &config) != nil {
		return false
	}
	if len(config.Kubelet.ClusterDNS) > 0 {
		s.server = config.Kubelet.ClusterDNS[0]
	}
	if config.Kubelet.ClusterDomain != "" {
		s.domain = strings.TrimSuffix(config.Kubelet.ClusterDomain, ".")
	}
	return true
}
