package dns

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/controller"
)

// dnsPort is where DNS is served (RFC 1035).
const dnsPort = 53

// server is one endpoint of the cluster's DNS Service.
type server struct {
	address string // ip:port
	pod     *corev1.ObjectReference
	node    string
}

func (s server) String() string {
	if s.pod == nil {
		return s.address
	}
	return fmt.Sprintf("%s (%s/%s on %s)", s.address, s.pod.Namespace, s.pod.Name, s.node)
}

// servers are the ready endpoints of the Service that kubelets give to pods as their nameserver.
func servers(ctx context.Context, env *requirement.Env) ([]server, error) {
	service, err := dnsService(ctx, env)
	if err != nil {
		return nil, err
	}
	slices, err := env.Kube.DiscoveryV1().EndpointSlices(service.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
	if err != nil {
		return nil, fmt.Errorf("listing the endpoints of the Service %s/%s: %w", service.Namespace, service.Name, err)
	}
	var all []server
	for _, slice := range slices.Items {
		for _, port := range slice.Ports {
			if port.Port == nil || port.Protocol == nil || *port.Protocol != corev1.ProtocolUDP {
				continue
			}
			for _, e := range slice.Endpoints {
				if e.Conditions.Ready != nil && !*e.Conditions.Ready {
					continue
				}
				s := server{address: net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*port.Port))), pod: e.TargetRef}
				if e.NodeName != nil {
					s.node = *e.NodeName
				}
				all = append(all, s)
			}
		}
	}
	if len(all) == 0 {
		return nil, noServer(ctx, env, service)
	}
	return all, nil
}

// noServer is the failure of a DNS Service without a ready endpoint, with the state that its pods are in.
func noServer(ctx context.Context, env *requirement.Env, service *corev1.Service) error {
	var states []string
	if len(service.Spec.Selector) > 0 {
		pods, err := env.Kube.CoreV1().Pods(service.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(service.Spec.Selector).String()})
		if err != nil {
			return fmt.Errorf("listing the pods of the DNS Service %s/%s: %w", service.Namespace, service.Name, err)
		}
		for _, pod := range pods.Items {
			states = append(states, controller.Pod(&pod))
		}
	}
	if len(states) == 0 {
		states = []string{"there is none"}
	}
	return &requirement.Failure{Reason: requirement.Missing, Target: fmt.Sprintf("Service %s/%s", service.Namespace, service.Name), Protocol: "API",
		Expected: "a ready endpoint of the cluster's DNS", Observed: "none in its EndpointSlices; of its pods: " + strings.Join(states, "; "),
		Again: fmt.Sprintf("kubectl get pods,endpointslices -n %s -o wide", service.Namespace)}
}

// dnsService is the Service that has the nameserver's address; behind a cache on each node that is not the pods'
// nameserver, and the usual one stands in.
func dnsService(ctx context.Context, env *requirement.Env) (*corev1.Service, error) {
	all, err := env.Kube.CoreV1().Services(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("looking for the DNS Service in %s: %w", metav1.NamespaceSystem, err)
	}
	var usual *corev1.Service
	for i, s := range all.Items {
		if s.Spec.ClusterIP == env.World.ClusterDNS {
			return &all.Items[i], nil
		}
		if s.Name == "kube-dns" {
			usual = &all.Items[i]
		}
	}
	if usual == nil {
		return nil, &requirement.Unsupported{Probed: fmt.Sprintf("no Service in %s has the pods' nameserver %s for its cluster IP, nor is one named kube-dns",
			metav1.NamespaceSystem, env.World.ClusterDNS)}
	}
	return usual, nil
}

func everyNode() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/every-node",
		Title: "From a pod on every node the nameserver of resolv.conf answers, over UDP and TCP.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  podDNS,
			Says: "Kubelets configure every pod so that running containers can look Services up by name rather than IP.",
		},
		Why: "Each node has its own data path to the DNS Service. One node whose proxy or overlay has stopped fails all lookups there, and an " +
			"average over the cluster hides it.",
		Roles: []world.Role{world.Everywhere}, Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			for _, client := range env.Roles(world.Everywhere) {
				for _, tcp := range []bool{false, true} {
					q := wire.DNS{Name: nameOf(env, world.Web), Type: recordOf(env.Family), TCP: tcp}
					if err := hasRecords(ctx, env, client, q, ip); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "what goes from the asker's ports dropped on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(fault.DropFrom("prerouting", "udp", "tcp")),
				fault.InPodOf(world.Everywhere, fault.DropFrom("output", "udp", "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func everyServer() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/every-server",
		Title: "Each DNS pod answers a pod on every node, over UDP and TCP, and all give the same answer.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/",
			Says: "Every pod can reach every other pod on every node; and what stands behind one Service is taken for equal, since a client is " +
				"given any of its endpoints.",
		},
		Why: "With two DNS pods and one of them deaf, or behind on its watch, every second lookup is slow or wrong. Through the Service's " +
			"address that looks like chance; asked one by one the pod has a name.",
		Roles: []world.Role{world.Everywhere}, Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			all, err := servers(ctx, env)
			if err != nil {
				return err
			}
			for _, client := range env.Roles(world.Everywhere) {
				for _, s := range all {
					for _, tcp := range []bool{false, true} {
						q := wire.DNS{Server: s.address, Name: nameOf(env, world.Web), Type: recordOf(env.Family), TCP: tcp}
						err := hasRecords(ctx, env, client, q, ip)
						if f := requirement.AsFailure(err); f != nil {
							f.Target = fmt.Sprintf("%s at the DNS pod %s", q.Name, s)
						}
						if err != nil {
							return err
						}
					}
				}
			}
			env.Note("%d DNS pods, asked from %d nodes", len(all), len(env.Roles(world.Everywhere)))
			return nil
		},
		Control: requirement.Control{
			Says: "what goes from one node to one DNS pod dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(dropToOneServer("prerouting")),
				fault.InPodOf(world.Everywhere, dropToOneServer("output")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

// dropToOneServer drops what goes from the requirement's own ports to the last DNS pod.
func dropToOneServer(hook string) fault.Rules {
	return func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
		all, err := servers(ctx, env)
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(all[len(all)-1].address)
		if err != nil {
			return nil, err
		}
		rules, err := fault.DropFrom(hook, "udp", "tcp")(ctx, env)
		for i := range rules {
			rules[i].To = host
		}
		return rules, err
	}
}
