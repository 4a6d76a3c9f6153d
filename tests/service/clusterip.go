package service

import (
	"context"
	"fmt"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

var virtualIPs = requirement.Clause{
	URL: "https://kubernetes.io/docs/reference/networking/virtual-ips/",
	Says: "Every node runs a proxy that captures traffic to a Service's cluster IP and port and redirects it to one of the Service's " +
		"endpoints; an endpoint may reach its own Service too.",
}

func clusterIP(protocol string) requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/clusterip-" + protocol,
		Title:  "A ClusterIP Service answers over " + strings.ToUpper(protocol) + " from a pod on every node.",
		Level:  requirement.Must,
		Clause: virtualIPs,
		Why: "Each node programs its own data path, so one node whose proxy has stopped is a partial outage that averages hide: " +
			"the check asks on every node and names the one that is silent.",
		Roles:     []world.Role{world.Everywhere, world.WebNear},
		Wants:     []world.Role{world.WebFar},
		Services:  []world.Service{world.Web},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, ok := env.Service(world.Web).ClusterIP(env.Family)
			if !ok {
				return &requirement.Unsupported{Probed: fmt.Sprintf("the Service %s was given no cluster IP of %s", world.Web, env.Family)}
			}
			for _, client := range env.Roles(world.Everywhere) {
				if _, err := exchange.Works(ctx, env, exchange.Talk{
					From: client, Among: append(env.Roles(world.WebNear), env.Roles(world.WebFar)...), Network: protocol,
					Dial: requirement.At(ip, world.ServicePort), Source: fmt.Sprintf(":%d", env.Port(0)),
				}); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "what goes to the cluster IP dropped on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(fault.DropToService("prerouting", world.Web, protocol)),
				fault.InPodOf(world.Everywhere, fault.DropToService("output", world.Web, protocol)),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func hairpin() requirement.Requirement {
	return requirement.Requirement{
		ID:     "service/hairpin",
		Title:  "A pod reaches itself through its own Service, over TCP and UDP.",
		Level:  requirement.Should,
		Clause: virtualIPs,
		Why: "A replica that calls its Service gets itself one time in n; without hairpin that call hangs, so it looks like a rare " +
			"time-out. Bridges without hairpin mode and proxies that do not masquerade it break it.",
		Roles:     []world.Role{world.SiblingA},
		Services:  []world.Service{world.Hairpin},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			self := env.Role(world.SiblingA)
			ip, ok := env.Service(world.Hairpin).ClusterIP(env.Family)
			if !ok {
				return &requirement.Unsupported{Probed: fmt.Sprintf("the Service %s was given no cluster IP of %s", world.Hairpin, env.Family)}
			}
			for _, protocol := range []string{"tcp", "udp"} {
				seen, err := exchange.Works(ctx, env, exchange.Talk{
					From: self, To: self, Network: protocol, Dial: requirement.At(ip, world.ServicePort),
				})
				if err != nil {
					return err
				}
				env.Note("%s %s: the pod saw its own hairpin come from %s", env.Family, protocol, seen.Witness.Remote)
			}
			return nil
		},
		Control: requirement.Control{
			Says: "packets that would leave by the interface they came in on dropped after translation",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.SiblingA, dropHairpin),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

// dropHairpin matches translated packets from the pod to itself as its node forwards them: the only
// packets of this pod that go out by the interface that they came in on.
func dropHairpin(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
	ip, err := env.IP(env.Role(world.SiblingA))
	if err != nil {
		return nil, err
	}
	var rules []wire.Rule
	for _, protocol := range []string{"tcp", "udp"} {
		rules = append(rules, wire.Rule{Hook: "forward", Priority: -10, Proto: protocol, From: ip.String(), To: ip.String(),
			ToPort: world.TargetPort, Status: "dnat", Do: "drop"})
	}
	return rules, nil
}

func noEndpointsRefused() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/no-endpoints-refused",
		Title: "A Service without endpoints refuses TCP and UDP at once.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/service.go",
			Says: "The upstream suite demands that a client of a Service without endpoints is refused (\"should be rejected when no endpoints exist\").",
		},
		Why: "While a deployment has no ready pod, a refusal lets clients and load balancers fail over at once; silence costs each of " +
			"them its whole time-out.",
		Roles:     []world.Role{world.Near},
		Services:  []world.Service{world.Empty},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.Near)
			ip, ok := env.Service(world.Empty).ClusterIP(env.Family)
			if !ok {
				return &requirement.Unsupported{Probed: fmt.Sprintf("the Service %s was given no cluster IP of %s", world.Empty, env.Family)}
			}
			for i, protocol := range []string{"tcp", "udp"} {
				talk := exchange.Talk{From: client, Network: protocol, Dial: requirement.At(ip, world.ServicePort),
					Source: fmt.Sprintf(":%d", env.Port(i))}
				if err := exchange.Refused(ctx, env, talk); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "what goes to its cluster IP dropped instead",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.Near, fault.DropToService("prerouting", world.Empty, "tcp", "udp")),
				fault.InPodOf(world.Near, fault.DropToService("output", world.Empty, "tcp", "udp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}
