package diagnose

import (
	"context"
	"fmt"
	"net"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

// resolver is one pod behind the DNS Service.
type resolver struct {
	pod, node, ip string
}

// names walks the ladder of a name: every DNS pod, their Service's address, and the name itself.
func (w *walk) names(ctx context.Context) string {
	client, plan := w.failure.From, w.env.World
	if plan.ClusterDNS == "" {
		return ""
	}
	pods, err := w.resolvers(ctx, plan.ClusterDNS)
	if err != nil {
		w.note("the DNS Service's endpoints could not be read: %v", err)
	}
	known := "kubernetes.default.svc." + plan.Domain + "."
	ask := func(ctx context.Context, server, name, source string) (wire.DNSAnswer, error) {
		got, err := client.DNS(ctx, wire.DNS{Server: net.JoinHostPort(server, "53"), Name: name, Type: "A", Source: source,
			Timeout: int(w.env.Attempt.Milliseconds())})
		if err == nil {
			w.note("DNS: %s asks %s for %s: %s %s", client.Where(), server, name, got.Errno, strings.Join(got.Answers, ", "))
		}
		return got, err
	}
	where := ""
	for _, pod := range pods {
		got, err := ask(ctx, pod.ip, known, "")
		switch {
		case err != nil:
			return "the agent of " + client.Where() + " does not answer: " + err.Error()
		case !got.Ok() && where == "":
			where = fmt.Sprintf("endpoint: the DNS pod %s on %s (%s), asked by %s, answers %s", pod.pod, pod.node, pod.ip, client.Where(), got.Errno)
			if told := w.follow(ctx, w.path(ctx, client, pod.end()), func(ctx context.Context, source string) error {
				_, err := ask(ctx, pod.ip, known, source)
				return err
			}); told != "" {
				where += "; " + told
			}
		}
	}
	if where != "" {
		return where
	}
	if got, err := ask(ctx, plan.ClusterDNS, known, ""); err == nil && !got.Ok() {
		story := fmt.Sprintf("ClusterIP: the DNS Service's address %s, asked by %s, answers %s", plan.ClusterDNS, client.Where(), got.Errno)
		if len(pods) > 0 {
			story += fmt.Sprintf(", though each of its %d pods answers it", len(pods))
		}
		if told := w.follow(ctx, w.path(ctx, client, nil), func(ctx context.Context, source string) error {
			_, err := ask(ctx, plan.ClusterDNS, known, source)
			return err
		}); told != "" {
			story += "; " + told
		}
		return story
	}
	return fmt.Sprintf("DNS: every DNS pod and the Service's address %s answer %s; only this question is affected", plan.ClusterDNS, client.Where())
}

// end is a stand-in for a pod that has no agent: its node's steps can be counted, its own namespace's can't.
func (r resolver) end() *requirement.End {
	return &requirement.End{Agent: nil, Pod: r.pod, Node: r.node}
}

// resolvers are the ready pods behind the DNS Service.
func (w *walk) resolvers(ctx context.Context, address string) ([]resolver, error) {
	services, err := w.env.Kube.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "spec.clusterIP=" + address})
	if err != nil {
		return nil, err
	}
	var all []resolver
	for _, service := range services.Items {
		slices, err := w.env.Kube.DiscoveryV1().EndpointSlices(service.Namespace).List(ctx, metav1.ListOptions{
			LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
		if err != nil {
			return nil, err
		}
		for _, slice := range slices.Items {
			if string(slice.AddressType) != string(w.env.Family) {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
					continue
				}
				r := resolver{ip: endpoint.Addresses[0]}
				if endpoint.TargetRef != nil {
					r.pod = endpoint.TargetRef.Name
				}
				if endpoint.NodeName != nil {
					r.node = *endpoint.NodeName
				}
				all = append(all, r)
			}
		}
	}
	return all, nil
}
