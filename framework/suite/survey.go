package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/knowndiff"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
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

// whyNoNode says of each node why ordinary pods don't run there.
func whyNoNode(ctx context.Context, kube kubernetes.Interface) string {
	nodes, err := kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		return "there is none"
	}
	var all []string
	for _, n := range nodes.Items {
		why := "it is cordoned"
		for _, t := range n.Spec.Taints {
			why = "it is tainted " + t.ToString()
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				why = "it is not ready: " + c.Message
			}
		}
		all = append(all, n.Name+" ("+why+")")
	}
	return strings.Join(all, ", ")
}

// needed are the verbs that a run uses; a user's cluster is asked for each before anything is made.
var needed = []authorizationv1.ResourceAttributes{
	{Verb: "create", Resource: "namespaces"}, {Verb: "delete", Resource: "namespaces"},
	{Verb: "list", Resource: "nodes"}, {Verb: "get", Resource: "nodes"}, {Verb: "get", Resource: "nodes", Subresource: "proxy"},
	{Verb: "create", Resource: "pods"}, {Verb: "list", Resource: "pods"}, {Verb: "watch", Resource: "pods"},
	{Verb: "delete", Resource: "pods"}, {Verb: "create", Resource: "pods", Subresource: "exec"},
	{Verb: "list", Resource: "events"}, {Verb: "get", Resource: "services"}, {Verb: "create", Resource: "services"},
}

// neededOfHandlers is needed besides by a run under a RuntimeClass.
var neededOfHandlers = authorizationv1.ResourceAttributes{Group: "node.k8s.io", Verb: "get", Resource: "runtimeclasses"}

// rights says which verbs are missing, all at once.
func rights(ctx context.Context, kube kubernetes.Interface, needed []authorizationv1.ResourceAttributes) error {
	var missing []string
	for _, n := range needed {
		review, err := kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &n}}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("asking the cluster for this user's rights: %w", err)
		}
		if !review.Status.Allowed {
			missing = append(missing, strings.TrimSuffix(n.Verb+" "+n.Resource+"/"+n.Subresource, "/"))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("this user lacks the rights to %s; grant them (manifests/rbac/parley.yaml has them all) or name another user's kubeconfig", strings.Join(missing, ", "))
	}
	return nil
}

// explainMissing says beforehand why some roles can't be played in a cluster of this shape.
func (l *lab) explainMissing() {
	if len(l.plan.Workers) < 2 {
		why := fmt.Sprintf("it needs two nodes that take ordinary pods, and this cluster has %d", len(l.plan.Workers))
		l.cast.missing[world.Far], l.cast.missing[world.WebFar] = why, why
	}
}

// castOutside gives the host outside the cluster its part: a container beside clusters that were made
// here, this very machine for a cluster of the user's.
func (l *lab) castOutside() error {
	end := &requirement.End{Role: world.Outside}
	if outside := l.cluster.Outside(); outside != nil {
		end.Agent = probe.New("outside", probe.Command(outside.Relay[0], outside.Relay[1:], outside.Env))
		end.IPs = outside.IPs
	} else {
		dialer, stop, err := probe.Local()
		if err != nil {
			return fmt.Errorf("starting an agent on this machine: %w", err)
		}
		l.undo("stopping the agent on this machine", func(context.Context) error { stop(); return nil })
		end.Agent = probe.New("outside", dialer)
		end.IPs = []netip.Addr{}
	}
	l.cast.agents = append(l.cast.agents, end.Agent)
	l.cast.ends[world.Outside] = []*requirement.End{end}
	return nil
}

// openReport begins the part of the report of the cluster, or of a column that shares it.
func (r *Run) openReport(facts cluster.Facts) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := reports.Cluster{Name: r.lab.cluster.Name(), Values: r.columns[r.at].Values(), Facts: append(tellFacts(facts), r.lab.handlerFacts()...)}
	if r.shared {
		of.Name = r.columns[r.at].Name()
	}
	r.report.Clusters = append(r.report.Clusters, of)
	var err error
	r.shipped, err = knowndiff.In(r.report)
	return err
}

// tellFacts turns what is known of the cluster into the report's lines.
func tellFacts(f cluster.Facts) []reports.Fact {
	var families []string
	for _, family := range f.Families {
		families = append(families, string(family))
	}
	all := []reports.Fact{
		{Name: "Kubernetes", Value: f.Kubernetes},
		{Name: "CNI", Value: f.CNI},
		{Name: "proxy mode", Value: f.ProxyMode},
		{Name: "address families", Value: strings.Join(families, ", ")},
	}
	if f.NodeImage != "" {
		all = append(all, reports.Fact{Name: "node image", Value: f.NodeImage + " (" + f.NodeImageFrom + ")"})
	}
	if len(f.Nodes) > 0 {
		all = append(all, reports.Fact{Name: "runtime", Value: strings.Join(runtimesOf(f.Nodes), ", ")})
	}
	for _, n := range f.Nodes {
		all = append(all, reports.Fact{Name: "node " + n.Name, Value: fmt.Sprintf("%s, %s, %s, Linux %s, kubelet %s",
			n.Role, n.RuntimeVersion, n.OSImage, n.Kernel, n.Kubelet)})
	}
	return all
}

// runtimesOf are the runtimes that nodes report with their versions, such as containerd://2.4.2, each once.
func runtimesOf(nodes []cluster.Node) (all []string) {
	for _, n := range nodes {
		if !slices.Contains(all, n.RuntimeVersion) {
			all = append(all, n.RuntimeVersion)
		}
	}
	return all
}

// phase shows a phase of making the cluster when it has ended.
func (r *Run) phase(name string, took time.Duration, done bool) {
	if done {
		r.progress.say("cluster: %s (%.1fs)", name, took.Seconds())
	}
}

// buildStep shows a component of the node image, or what nodes get besides, when it has been built.
func (r *Run) buildStep(s nodeimage.Step) {
	switch {
	case s.N == 0 && s.Done && !s.Cached:
		r.progress.say("%s (%.1fs)", s.Component, s.Took.Seconds())
	case s.N == 0 && s.Done:
		r.progress.say("%s: cached", s.Component)
	case s.N == 0:
		r.progress.say("%s ...", s.Component)
	case !s.Done:
		r.progress.say("node image: %d of %d, %s ...", s.N, s.Of, s.Component)
	case s.Cached:
		r.progress.say("node image: %d of %d, %s: cached", s.N, s.Of, s.Component)
	default:
		r.progress.say("node image: %d of %d, %s (%.1fs)", s.N, s.Of, s.Component, s.Took.Seconds())
	}
}

// hostArch is the architecture of the nodes of a cluster that is made here.
func hostArch() string { return runtime.GOARCH }
