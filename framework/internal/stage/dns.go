package stage

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/parley-k8s/parley/framework/internal/nodehealth"
)

const (
	// kubeletAnswers bounds the question to one kubelet: one that hangs must not hold up the run.
	kubeletAnswers = nodehealth.AskWithin
	// kubeletsAsked is how many kubelets are asked at most, all at once.
	kubeletsAsked = 24

	usualDomain = "cluster.local"
)

// nameService is what the world needs to know of the cluster's DNS.
type nameService struct {
	server  string // the first resolver that kubelets give to pods; "" where it was not found
	domain  string
	service types.NamespacedName // the Service in front of the DNS pods; empty where none was found
}

// lookForDNS asks the nodes' kubelets for the resolver that they give to pods, and for the cluster domain. What most of them say
// counts: one that differs from its neighbours is to be found, not followed. Where the kubelets may not be asked, the Service
// that serves DNS and CoreDNS's own configuration, or the usual domain, stand in.
func lookForDNS(ctx context.Context, kube kubernetes.Interface, nodes []string) nameService {
	servers, domains := askKubelets(ctx, kube, nodes)
	s := nameService{server: most(servers, "")}
	service := dnsService(ctx, kube, s.server)
	if service != nil {
		s.service = types.NamespacedName{Namespace: service.Namespace, Name: service.Name}
		if s.server == "" {
			s.server = service.Spec.ClusterIP
		}
	}
	served := servedDomain(ctx, kube, s.service.Namespace)
	if s.domain = most(domains, served); s.domain == "" {
		s.domain = served
	}
	if s.domain == "" {
		s.domain = usualDomain
	}
	return s
}

// askKubelets gives how many kubelets name which resolver and which cluster domain.
func askKubelets(ctx context.Context, kube kubernetes.Interface, nodes []string) (servers, domains map[string]int) {
	servers, domains = map[string]int{}, map[string]int{}
	var mu sync.Mutex
	var group errgroup.Group
	for _, node := range nodes[:min(len(nodes), kubeletsAsked)] {
		group.Go(func() error {
			server, domain := askKubelet(ctx, kube, node)
			mu.Lock()
			defer mu.Unlock()
			count(servers, server)
			count(domains, domain)
			return nil
		})
	}
	_ = group.Wait() // nobody fails: who may not be asked says nothing
	return servers, domains
}

func count(votes map[string]int, of string) {
	if of != "" {
		votes[of]++
	}
}

// most is what got the most votes, the preferred of those that got as many; "" without votes.
func most(votes map[string]int, preferred string) (best string) {
	for _, one := range slices.Sorted(maps.Keys(votes)) {
		if best == "" || votes[one] > votes[best] || votes[one] == votes[best] && one == preferred {
			best = one
		}
	}
	return best
}

// askKubelet reads the resolver and the domain in the kubelet's configz; "" where that is forbidden or it does not answer.
func askKubelet(ctx context.Context, kube kubernetes.Interface, node string) (server, domain string) {
	ctx, cancel := context.WithTimeout(ctx, kubeletAnswers)
	defer cancel()
	raw, err := kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix("configz").DoRaw(ctx)
	if err != nil {
		return "", ""
	}
	return parseConfigz(raw)
}

func parseConfigz(raw []byte) (server, domain string) {
	var config struct {
		Kubelet struct {
			ClusterDNS    []string `json:"clusterDNS"`
			ClusterDomain string   `json:"clusterDomain"`
		} `json:"kubeletconfig"`
	}
	if json.Unmarshal(raw, &config) != nil {
		return "", ""
	}
	if len(config.Kubelet.ClusterDNS) > 0 {
		server = config.Kubelet.ClusterDNS[0]
	}
	return server, strings.TrimSuffix(config.Kubelet.ClusterDomain, ".")
}

// dnsService is the Service in front of the DNS pods: the one with the address that kubelets give to pods, whatever it is called.
// A cache on each node has an address of its own, which is no Service's: then it is kube-dns, or the one Service that has its
// label, or the only one that serves port 53 over UDP. nil where none of these is there.
func dnsService(ctx context.Context, kube kubernetes.Interface, address string) *corev1.Service {
	all, err := kube.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		if all, err = kube.CoreV1().Services(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{}); err != nil {
			return nil
		}
	}
	var labelled, serving []*corev1.Service
	var usual *corev1.Service
	for i := range all.Items {
		s := &all.Items[i]
		switch {
		case address != "" && slices.Contains(s.Spec.ClusterIPs, address) || address != "" && s.Spec.ClusterIP == address:
			return s
		case s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone:
		case s.Namespace == metav1.NamespaceSystem && s.Name == "kube-dns":
			usual = s
		case s.Labels["k8s-app"] == "kube-dns":
			labelled = append(labelled, s)
		case servesDNS(s):
			serving = append(serving, s)
		}
	}
	switch {
	case usual != nil:
		return usual
	case len(labelled) > 0:
		return labelled[0]
	case len(serving) == 1:
		return serving[0]
	}
	return nil
}

func servesDNS(s *corev1.Service) bool {
	return slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == 53 && p.Protocol == corev1.ProtocolUDP })
}

// servedDomain is the cluster domain that CoreDNS is configured to serve, "" where that can't be read.
func servedDomain(ctx context.Context, kube kubernetes.Interface, namespace string) string {
	if namespace == "" {
		namespace = metav1.NamespaceSystem
	}
	all, err := kube.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return ""
	}
	for _, m := range all.Items {
		if domain := domainOf(m.Data["Corefile"]); domain != "" {
			return domain
		}
	}
	return ""
}

// kubernetesPlugin is the line of a Corefile that names the zones of the Kubernetes plugin.
var kubernetesPlugin = regexp.MustCompile(`(?m)^\s*kubernetes\s+([^{}\n]*)`)

// domainOf is the first zone of a Corefile's Kubernetes plugin that is not a reverse one.
func domainOf(corefile string) string {
	m := kubernetesPlugin.FindStringSubmatch(corefile)
	if m == nil {
		return ""
	}
	for _, zone := range strings.Fields(m[1]) {
		if !strings.HasSuffix(strings.TrimSuffix(zone, "."), ".arpa") {
			return strings.Trim(zone, ".")
		}
	}
	return ""
}
