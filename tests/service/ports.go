package service

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/draw"
)

// leads is a port of a Service and the port of the endpoint that it must lead to.
type leads struct {
	protocol string
	from, to int
}

// ledTo says whether each port of the Service Ports leads from the client to its own target.
func ledTo(ctx context.Context, env *requirement.Env, client *requirement.End, ports ...leads) error {
	ip, err := virtualIP(env, world.Ports)
	if err != nil {
		return err
	}
	if env.Fixture(firstTargetForAll) {
		if ip, err = oneTargetFor(ctx, env, client, ports); err != nil {
			return err
		}
	}
	for _, p := range ports {
		talk := exchange.Talk{From: client, Among: env.Roles(world.WebNear, world.WebFar), Network: p.protocol, Dial: requirement.At(ip, p.from)}
		if err := env.Until(ctx, func(ctx context.Context) error {
			seen, err := exchange.Again(ctx, env, talk)
			if err != nil {
				return err
			}
			return arrivedAt(env, talk, seen, p.to)
		}); err != nil {
			return err
		}
	}
	return nil
}

// firstTargetForAll is a Service whose ports all have the first one's target, as of a proxy that takes the first port of an endpoint for all.
const firstTargetForAll = "first-target-for-all"

// firstTargetControl is of the rows about two ports: the first of them is right.
func firstTargetControl(says string) requirement.Control {
	return requirement.Control{Says: says, Variant: &requirement.Variant{Fixture: firstTargetForAll}, Red: []requirement.Reason{requirement.WrongPort}}
}

// oneTargetFor makes such a Service for the near endpoint, and waits until the client is answered at all of its ports.
func oneTargetFor(ctx context.Context, env *requirement.Env, client *requirement.End, ports []leads) (netip.Addr, error) {
	server := env.Role(world.WebNear)
	service, err := selecting(ctx, env, world.PodLabel, func(s *corev1.ServiceSpec) {
		s.Selector, s.Ports = map[string]string{world.PodLabel: server.Pod}, nil
		for _, p := range ports {
			s.Ports = append(s.Ports, corev1.ServicePort{Name: fmt.Sprintf("%s-%d", p.protocol, p.from), Protocol: corev1.Protocol(strings.ToUpper(p.protocol)),
				Port: int32(p.from), TargetPort: intstr.FromInt(ports[0].to)})
		}
	})
	if err != nil {
		return netip.Addr{}, err
	}
	ip, err := virtualIPOf(env, service)
	if err != nil {
		return ip, err
	}
	for _, p := range ports {
		if err := untilWorks(ctx, env, exchange.Talk{From: client, To: server, Network: p.protocol, Dial: requirement.At(ip, p.from)}); err != nil {
			return ip, err
		}
	}
	return ip, nil
}

func arrivedAt(env *requirement.Env, talk exchange.Talk, seen wire.Exchange, port int) error {
	if exchange.Port(seen.Witness.Local) == port {
		return nil
	}
	return &requirement.Failure{Reason: requirement.WrongPort, From: talk.From, Target: talk.Dial, Protocol: talk.Network,
		Expected: fmt.Sprintf("an answer from port %d of an endpoint", port), Observed: fmt.Sprintf("one from %s at %s", seen.Witness.Who, seen.Witness.Local),
		Again: "kubectl get endpointslices -n " + env.Namespace() + " -o yaml"}
}

var definingServices = "https://kubernetes.io/docs/concepts/services-networking/service/#defining-a-service"

// toPorts fills in what the rows about ports have in common.
func toPorts(r requirement.Requirement, says string, check func(context.Context, *requirement.Env) error) requirement.Requirement {
	r.Level = requirement.Must
	r.Roles = []world.Role{world.Near, world.WebNear}
	r.Wants = []world.Role{world.WebFar}
	r.Services = []world.Service{world.Ports, world.PortsSwapped}
	r.PerFamily, r.PerNode = true, true
	r.Check = check
	r.Control = requirement.Control{
		Says:    says,
		Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.Ports: world.PortsSwapped}},
		Red:     []requirement.Reason{requirement.WrongPort},
	}
	return r
}

func multiPort() requirement.Requirement {
	r := toPorts(requirement.Requirement{
		ID:    "service/multi-port",
		Title: "Each port of a ClusterIP Service with several ports leads to its own target port.",
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/services-networking/service/#multi-port-services",
			Says: "A Service can have several ports, each with a name; every one of them has a target of its own.",
		},
		Why: "Metrics on one port and requests on another are the rule. A proxy that takes the first port of an endpoint for all sends " +
			"users to the metrics.",
	}, "a Service whose ports have each other's targets", func(ctx context.Context, env *requirement.Env) error {
		return ledTo(ctx, env, env.Role(world.Near),
			leads{"tcp", world.ServicePort, world.TargetPort}, leads{"tcp", world.SecondServicePort, world.OtherPort})
	})
	r.MoreControls = []requirement.Control{firstTargetControl("a Service whose second port has the first one's target")}
	return r
}

func samePortTCPUDP() requirement.Requirement {
	r := toPorts(requirement.Requirement{
		ID:    "service/same-port-tcp-udp",
		Title: "One port number of a ClusterIP Service leads over TCP to one target port and over UDP to another.",
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/#ServiceSpec",
			Says: "The ports of a Service are keyed by number and protocol together, and each names its own target port: the same number may " +
				"be there for TCP and for UDP.",
		},
		Why: "DNS and HTTP/3 do it. Rules or maps that are keyed by address and port without the protocol let one overwrite the other.",
	}, "a Service whose two protocols have each other's targets", func(ctx context.Context, env *requirement.Env) error {
		return ledTo(ctx, env, env.Role(world.Near),
			leads{"tcp", world.ServicePort, world.TargetPort}, leads{"udp", world.ServicePort, world.OtherPort})
	})
	r.MoreControls = []requirement.Control{firstTargetControl("a Service that leads to one target over both protocols")}
	return r
}

func targetPortNamed() requirement.Requirement {
	return toPorts(requirement.Requirement{
		ID:    "service/target-port-named",
		Title: "A targetPort that is a name leads to the container port of that name.",
		Clause: requirement.Clause{
			URL:  definingServices,
			Says: "Ports in pods have names, and the targetPort of a Service can refer to them.",
		},
		Why: "With names the number stays the pod's own affair: it can change with the next version without touching the Service.",
	}, "a Service with another target", func(ctx context.Context, env *requirement.Env) error {
		return ledTo(ctx, env, env.Role(world.Near), leads{"tcp", world.NamedServicePort, world.OtherPort})
	})
}

// targetPortDiffers judges one sample of uniform draws, which misses one of the two endpoints with a probability of 2^-404.
func targetPortDiffers() requirement.Requirement {
	r := toPorts(requirement.Requirement{
		ID:    "service/target-port-differs",
		Title: "Where pods give one port name to different numbers, a Service with this name reaches each pod at its own number.",
		Clause: requirement.Clause{
			URL:  definingServices,
			Says: "A name works even with a mixture of pods behind the Service that have it on different port numbers.",
		},
		Why: "A rollout that moves a port has both numbers at once. They lie in EndpointSlices of their own, and a proxy that reads one slice, or " +
			"one port for all, loses half of the endpoints. Once the Service is known, one sample is drawn and judged once.",
	}, "a Service with a target that the pods have on one number", nil)
	r.Needs = []requirement.Feature{requirement.TwoNodes} // the two pods are on two nodes
	r.Roles, r.Wants = append(r.Roles, world.WebFar), nil
	r.Check = func(ctx context.Context, env *requirement.Env) error {
		ip, err := virtualIP(env, world.Ports)
		if err != nil {
			return err
		}
		ports := map[string]int{env.Role(world.WebNear).Pod: world.DiffersPort(world.WebNear),
			env.Role(world.WebFar).Pod: world.DiffersPort(world.WebFar)}
		client, target := env.Role(world.Near), requirement.At(ip, world.DiffersServicePort)
		from := draw.Source{Env: env, Client: client, Protocol: "tcp", Target: target}
		if err := from.Known(ctx, env.Roles(world.WebNear, world.WebFar)...); err != nil {
			return err
		}
		s, seen, err := from.TakeSeen(ctx, draw.Leaks())
		if err != nil {
			return err
		}
		if err := errors.Join(s.Among(env.Roles(world.WebNear, world.WebFar), 1), s.Each(env.Roles(world.WebNear, world.WebFar))); err != nil {
			return err
		}
		for _, x := range seen {
			if x.Witness == nil {
				continue
			}
			if err := arrivedAt(env, exchange.Talk{From: client, Network: "tcp", Dial: target}, x, ports[x.Witness.Who]); err != nil {
				return err
			}
		}
		return nil
	}
	return r
}

func undeclaredPort() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/undeclared-port",
		Title: "A port that a ClusterIP Service does not declare is not forwarded to its endpoints, though they listen there.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/proxy/nftables/README.md",
			Says: "kube-proxy redirects the declared ports of a cluster IP; in nftables mode it rejects the others. No document says what " +
				"every proxy does with them.",
		},
		Why: "A Service's ports are what its owner offers. A data path that forwards a whole address gives away admin and debug ports " +
			"with it. Five attempts in a row get no answer, each beside one to a declared port that gets one. Whether the client is refused or " +
			"waits in vain is reported.",
		PerNode:   true,
		Roles:     []world.Role{world.Near, world.OnlyNear},
		Services:  []world.Service{world.NearAlone, world.PortsDeclared},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := virtualIP(env, world.NearAlone)
			if err != nil {
				return err
			}
			heard := exchange.Talk{From: env.Role(world.Near), To: env.Role(world.OnlyNear), Dial: requirement.At(ip, world.ServicePort)}
			return unanswered(ctx, env, heard, requirement.At(ip, world.TargetPort), requirement.At(ip, world.OtherPort))
		},
		Control: requirement.Control{
			Says:    "a Service that declares the ports",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.NearAlone: world.PortsDeclared}},
			Red:     []requirement.Reason{requirement.Answered},
		},
	}
}

func closedTargetRefused() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/closed-target-refused",
		Title: "Where nobody listens at the target port, a client of the ClusterIP is refused at once, over TCP and UDP.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc5508#section-4.1",
			Says: "Whatever translates addresses translates ICMP errors back, in their payload too, so that they reach the socket that they are " +
				"about. RFC 5382 asks the same of TCP's own resets. The endpoint's kernel refuses; the proxy must let its client know.",
		},
		Why: "A crashed server is seen at once, or after a time-out. Errors take another way back than answers: filters drop ICMP as such, and " +
			"data paths without connection tracking forget to translate what is inside of it.",
		PerNode:   true,
		Roles:     []world.Role{world.Near, world.OnlyNear},
		Wants:     []world.Role{world.Far},
		Services:  []world.Service{world.NearAlone},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			ip, err := virtualIP(env, world.NearAlone)
			if err != nil {
				return err
			}
			for _, client := range append(env.Roles(world.Near), env.Roles(world.Far)...) {
				for i, protocol := range bothProtocols {
					// By another port of the Service, which the proxy learns of together with this one.
					if err := serviceAnswers(ctx, env, exchange.Talk{From: client, To: env.Role(world.OnlyNear), Network: protocol,
						Dial: requirement.At(ip, world.ServicePort)}); err != nil {
						return err
					}
					if err := exchange.Rejected(ctx, env, exchange.Talk{From: client, Network: protocol, Dial: requirement.At(ip, world.ClosedServicePort),
						Source: fmt.Sprintf(":%d", env.Port(i))}); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "the refusals dropped as they leave the endpoint's pod",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.OnlyNear, func(context.Context, *requirement.Env) ([]wire.Rule, error) {
					// To the client's own ports; the ICMP errors are left alone.
					return []wire.Rule{{Hook: "output", Priority: fault.BeforeAll, Proto: "tcp", Flags: "rst", FromPort: world.ClosedPort, Do: "drop"}}, nil
				}),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{{
			Says:  "what the endpoint's pod says about its closed UDP port dropped as it leaves",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.OnlyNear, fault.DropUnreachable(world.Near))}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		}},
	}
}
