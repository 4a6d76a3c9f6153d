package stage

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
)

func service(namespace, name, ip string, port int32, labels map[string]string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: corev1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}, Ports: []corev1.ServicePort{{Port: port, Protocol: corev1.ProtocolUDP}}}}
}

func TestDNSService(t *testing.T) {
	kubeDNS := service("kube-system", "kube-dns", "10.96.0.10", 53, map[string]string{"k8s-app": "kube-dns"})
	openshift := service("openshift-dns", "dns-default", "172.30.0.10", 53, nil)
	labelled := service("dns", "coredns", "10.1.0.10", 53, map[string]string{"k8s-app": "kube-dns"})
	other := service("game", "names", "10.96.9.9", 53, nil)
	headless := service("game", "peers", corev1.ClusterIPNone, 53, nil)
	for name, c := range map[string]struct {
		address string
		all     []*corev1.Service
		want    string
	}{
		"by the address, whatever its name": {"172.30.0.10", []*corev1.Service{other, openshift, headless}, "dns-default"},
		"a cache on each node: kube-dns":    {"169.254.20.10", []*corev1.Service{other, kubeDNS, labelled}, "kube-dns"},
		"not asked: by its label":           {"", []*corev1.Service{other, labelled, headless}, "coredns"},
		"the only one that serves DNS":      {"", []*corev1.Service{openshift, headless}, "dns-default"},
		"two that do: it can't be told":     {"", []*corev1.Service{openshift, other}, ""},
		"none":                              {"10.0.0.10", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			kube := fake.NewClientset()
			for _, s := range c.all {
				require.NoError(t, kube.Tracker().Add(s))
			}
			got := dnsService(t.Context(), kube, c.address)
			if c.want == "" {
				require.Nil(t, got)
				return
			}
			require.Equal(t, c.want, got.Name)
		})
	}
}

// TestLookForDNS has an API server before kubelets of which one may differ from the others, or not answer.
func TestLookForDNS(t *testing.T) {
	const forbidden = "forbidden"
	corefile := `{"items":[{"metadata":{"name":"coredns","namespace":"kube-system"},"data":{"Corefile":".:53 {\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n    }\n}"}}]}`
	kubeDNS := `{"items":[{"metadata":{"name":"kube-dns","namespace":"kube-system"},"spec":{"clusterIP":"10.96.0.10","clusterIPs":["10.96.0.10"]}}]}`
	for name, c := range map[string]struct {
		domains    []string // of the kubelets, in order
		configMaps string
		want       string
	}{
		"the first differs from the others":                   {[]string{"corp.internal", "cluster.local", "cluster.local"}, `{}`, "cluster.local"},
		"one of two differs: CoreDNS tells":                   {[]string{"corp.internal", "cluster.local"}, corefile, "cluster.local"},
		"one of two differs, the other way round":             {[]string{"cluster.local", "zzz.internal"}, corefile, "cluster.local"},
		"all have another":                                    {[]string{"corp.internal", "corp.internal"}, `{}`, "corp.internal"},
		"one may not be asked":                                {[]string{forbidden, "corp.internal"}, `{}`, "corp.internal"},
		"none may be asked, CoreDNS tells":                    {[]string{forbidden, forbidden}, strings.ReplaceAll(corefile, "cluster.local", "corp.internal."), "corp.internal"},
		"none may be asked, and nothing tells: the usual one": {[]string{forbidden}, `{}`, "cluster.local"},
	} {
		t.Run(name, func(t *testing.T) {
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				var node int
				switch {
				case strings.HasSuffix(r.URL.Path, "/services"):
					_, _ = fmt.Fprint(w, kubeDNS)
				case strings.HasSuffix(r.URL.Path, "/configmaps"):
					_, _ = fmt.Fprint(w, c.configMaps)
				default:
					if _, err := fmt.Sscanf(r.URL.Path, "/api/v1/nodes/n%d/proxy/configz", &node); err != nil || c.domains[node] == forbidden {
						w.WriteHeader(http.StatusForbidden)
						return
					}
					_, _ = fmt.Fprintf(w, `{"kubeletconfig":{"clusterDNS":["10.96.0.10"],"clusterDomain":%q}}`, c.domains[node])
				}
			}))
			defer api.Close()
			kube, err := kubernetes.NewForConfig(&rest.Config{Host: api.URL})
			require.NoError(t, err)
			var nodes []string
			for i := range c.domains {
				nodes = append(nodes, fmt.Sprintf("n%d", i))
			}
			got := lookForDNS(t.Context(), kube, nodes)
			require.Equal(t, c.want, got.domain)
			require.Equal(t, "10.96.0.10", got.server)
			require.Equal(t, "kube-system/kube-dns", got.service.String())
		})
	}
}

func TestDomainOf(t *testing.T) {
	for corefile, want := range map[string]string{
		".:53 {\n  errors\n  kubernetes cluster.local in-addr.arpa ip6.arpa {\n  ttl 30\n }\n}": "cluster.local",
		"kubernetes in-addr.arpa corp.internal. {":                                              "corp.internal",
		".:53 {\n  forward . /etc/resolv.conf\n}":                                               "",
		"kubernetes {\n}": "",
		"":                "",
	} {
		require.Equal(t, want, domainOf(corefile), corefile)
	}
}

func FuzzParseConfigz(f *testing.F) {
	f.Add([]byte(`{"kubeletconfig":{"clusterDNS":["10.96.0.10"],"clusterDomain":"cluster.local."}}`))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		parseConfigz(raw)
		domainOf(string(raw))
	})
}
