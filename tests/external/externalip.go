package external

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

const noExternalIPs = "no-external-ips"

func externalIP() requirement.Requirement {
	return requirement.Requirement{
		ID:    "external/external-ip",
		Title: "Traffic from outside that a node gets for one of a Service's externalIPs, on the Service's port, reaches an endpoint, over TCP and UDP.",
		Level: requirement.Optional,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/service/#external-ips",
			Says: "Where external IPs are routed to nodes, traffic that comes in there with such a destination and the Service's port goes to one of its " +
				"endpoints; Kubernetes does not manage these addresses. Clusters may refuse the field, and Kubernetes 1.36 warns that it goes away.",
		},
		Why: "Clusters without load balancers publish Services so. The address is one of each node's own here, so that nothing has to be " +
			"routed, and the port is one that no node listens on: only the Service can answer.",
		Needs:     []requirement.Feature{requirement.OutsideHost},
		Roles:     []world.Role{world.Outside, world.WebNear},
		Wants:     []world.Role{world.Node},
		PerFamily: true,
		Check:     checkExternalIP,
		Control: requirement.Control{
			Says:    "the same Service without externalIPs",
			Variant: &requirement.Variant{Fixture: noExternalIPs},
			Red:     []requirement.Reason{requirement.Refused, requirement.NoAnswer, requirement.Unreachable},
		},
		MoreControls: []requirement.Control{{
			Says:  "what comes for the port over UDP dropped on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.OnOneNode(fault.DropOwnPorts("prerouting", "udp"))}},
			Red:   []requirement.Reason{requirement.NoAnswer},
		}},
	}
}

func checkExternalIP(ctx context.Context, env *requirement.Env) error {
	nodes, err := machines(ctx, env)
	if err != nil {
		return err
	}
	dialled := map[string][]machine{}
	for _, protocol := range []string{"tcp", "udp"} {
		// A node's own agent could not take the place of the outside: the proxy of its node takes what goes to an external IP.
		far, why, err := fromOutsideAlone(ctx, env, protocol, 0)
		if err != nil {
			return err
		}
		if why != "" {
			return &requirement.Unsupported{Probed: why}
		}
		dialled[protocol] = far
	}
	var ports []corev1.ServicePort
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
		ports = append(ports, corev1.ServicePort{Name: strings.ToLower(string(protocol)), Protocol: protocol, Port: int32(env.Port(0)),
			TargetPort: intstr.FromInt32(world.TargetPort)})
	}
	service := env.World.NewService("external-ip", "nodeport", ports...)
	for _, node := range nodes {
		if !env.Fixture(noExternalIPs) {
			service.Spec.ExternalIPs = append(service.Spec.ExternalIPs, node.ip.String())
		}
	}
	switch made, err := makeService(ctx, env, service); {
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err):
		return &requirement.Unsupported{Probed: "asked for a Service with externalIPs, the API server refuses: " + err.Error()}
	case err != nil:
		return fmt.Errorf("making a Service with externalIPs: %w", err)
	case len(made.Spec.ExternalIPs) != len(service.Spec.ExternalIPs):
		return &requirement.Unsupported{Probed: fmt.Sprintf("a Service made with the externalIPs %v has %v", service.Spec.ExternalIPs, made.Spec.ExternalIPs)}
	}
	for _, protocol := range []string{"tcp", "udp"} {
		for _, node := range dialled[protocol] {
			talk := exchange.Talk{From: node.from, To: env.Role(world.WebNear), Network: protocol, Dial: requirement.At(node.ip, env.Port(0))}
			if err := answersOnce(ctx, env, talk); err != nil {
				return through(err, node.name)
			}
		}
	}
	return nil
}

// takenUpWithin bounds the wait, under a control too, until the proxies have taken up the Service: no control is about that.
const takenUpWithin = 10 * time.Second

// answersOnce says whether the talk works. Over TCP, of which the control of UDP lets all pass, it waits under a control too.
func answersOnce(ctx context.Context, env *requirement.Env, talk exchange.Talk) error {
	works := func(ctx context.Context) error {
		_, err := exchange.Works(ctx, env, talk)
		return err
	}
	if env.Patience > 0 || talk.Network != "tcp" || env.Fixture(noExternalIPs) {
		return works(ctx)
	}
	_, err := requirement.Settles(ctx, until.Policy{Within: takenUpWithin}, works)
	return err
}
