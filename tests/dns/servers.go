package dns

import (
	"context"
	"fmt"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
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
		return nil, noServer(env, service)
	}
	return all, nil
}

// noServer is the failure that nobody serves DNS. Why its pods are not ready the diagnosis finds out.
func noServer(env *requirement.Env, service *corev1.Service) *requirement.Failure {
	f := &requirement.Failure{Reason: requirement.Missing, Target: fmt.Sprintf("the DNS Service %s/%s", service.Namespace, service.Name), Protocol: "dns",
		Expected: "a ready endpoint", Observed: "none in its EndpointSlices",
		Again: fmt.Sprintf("kubectl -n %s get endpointslices -l %s=%s", service.Namespace, discoveryv1.LabelServiceName, service.Name)}
	for _, role := range env.Requirement.Roles {
		if all := env.Roles(role); len(all) > 0 {
			f.From = all[0] // the diagnosis asks from there
			break
		}
	}
	return f
}

// dnsService is the Service in front of the DNS pods: behind a cache on each node it does not have the pods' nameserver for its
// address.
func dnsService(ctx context.Context, env *requirement.Env) (*corev1.Service, error) {
	name := env.World.DNSService
	if name.Name == "" {
		return nil, &requirement.Unsupported{Probed: fmt.Sprintf("no Service has the pods' nameserver %s for its cluster IP, nor is one kube-dns or the only one on port 53",
			env.World.ClusterDNS)}
	}
	service, err := env.Kube.CoreV1().Services(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the DNS Service %s: %w", name, err)
	}
	return service, nil
}

func everyNode() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/every-node",
		Title: "From a pod on every node the nameserver of resolv.conf answers every question, over UDP and TCP.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  podDNS,
			Says: "Kubelets configure every pod so that running containers can look Services up by name rather than IP.",
		},
		Why: "Each node has its own data path to the DNS Service. One node whose proxy or overlay has stopped fails all lookups there, and an " +
			"average over the cluster hides it. Each node asks some hundreds of questions, none of them twice: one in a hundred lost over UDP, or one in " +
			"twenty over TCP, is missed by a probability of 1e-3, and one in 50,000 is called a fault by 1e-9 for all nodes together.",
		Roles: []world.Role{world.Everywhere}, Services: []world.Service{world.Web},
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := clusterIP(env, world.Web)
			if err != nil {
				return err
			}
			clients := env.Roles(world.Everywhere)
			samples := 2 * len(clients)
			return fromEach(ctx, clients, func(ctx context.Context, client *requirement.End) error {
				q := wire.DNS{Name: nameOf(env, world.Web), Type: recordOf(env.Family)}
				if err := answersAll(ctx, env, client, q, losing(0.01, samples), ip); err != nil {
					return err
				}
				q.TCP = true
				return answersAll(ctx, env, client, q, losing(0.05, samples), ip)
			})
		},
		Control: requirement.Control{
			Says: "of what goes from the asker's ports over UDP, one packet in twenty dropped on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(everyTwentieth("prerouting")),
				fault.InPodOf(world.Everywhere, everyTwentieth("output")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says: "what goes from the asker's ports over TCP dropped on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(fault.DropFrom("prerouting", "tcp")),
				fault.InPodOf(world.Everywhere, fault.DropFrom("output", "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

// everyTwentieth drops one in twenty of what comes from the requirement's own ports.
func everyTwentieth(hook string) fault.Rules {
	return func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
		rules, err := fault.DropFrom(hook, "udp")(ctx, env)
		for i := range rules {
			rules[i].EveryNth = 20
		}
		return rules, err
	}
}

func everyServer() requirement.Requirement {
	return requirement.Requirement{
		ID:    "dns/every-server",
		Title: "Each DNS pod answers every question of a pod on every node, over UDP and TCP, and all give the same answer.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/",
			Says: "Every pod can reach every other pod on every node; and what stands behind one Service is taken for equal, since a client is " +
				"given any of its endpoints.",
		},
		Why: "With two DNS pods and one of them deaf, or behind on its watch, every second lookup is slow or wrong. Through the Service's " +
			"address that looks like chance; asked one by one the pod has a name. Each is asked some dozens of questions from each node, none of them " +
			"twice: one in twenty lost is missed by a probability of 1e-3, and one in 50,000 is called a fault by 1e-9 for all of them together.",
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
			clients := env.Roles(world.Everywhere)
			may := losing(0.05, 2*len(clients)*len(all))
			env.Note("%d DNS pods, asked from %d nodes", len(all), len(clients))
			return fromEach(ctx, clients, func(ctx context.Context, client *requirement.End) error {
				for _, s := range all {
					for _, tcp := range []bool{false, true} {
						q := wire.DNS{Server: s.address, Name: nameOf(env, world.Web), Type: recordOf(env.Family), TCP: tcp}
						err := answersAll(ctx, env, client, q, may, ip)
						if f := requirement.AsFailure(err); f != nil {
							f.Target = fmt.Sprintf("%s at the DNS pod %s", q.Name, s)
						}
						if err != nil {
							return err
						}
					}
				}
				return nil
			})
		},
		Control: requirement.Control{
			Says: "what goes from one node to one DNS pod over UDP dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(dropToOneServer("prerouting", "udp")),
				fault.InPodOf(world.Everywhere, dropToOneServer("output", "udp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{
			{Says: "what goes from one node to one DNS pod over TCP dropped", Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(dropToOneServer("prerouting", "tcp")),
				fault.InPodOf(world.Everywhere, dropToOneServer("output", "tcp"))}},
				Red: []requirement.Reason{requirement.NoAnswer}},
			{Says: "one pod's questions redirected to a resolver that answers with a wrong address",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Everywhere, fault.LieAbout(world.LiarPort))}},
				Red:   []requirement.Reason{requirement.WrongRecord}},
		},
	}
}

// dropToOneServer drops what goes from the requirement's own ports to the last DNS pod.
func dropToOneServer(hook string, protocols ...string) fault.Rules {
	return func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
		all, err := servers(ctx, env)
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(all[len(all)-1].address)
		if err != nil {
			return nil, err
		}
		rules, err := fault.DropFrom(hook, protocols...)(ctx, env)
		for i := range rules {
			rules[i].To = host
		}
		return rules, err
	}
}
