package service

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/convergence"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// staleRule is the control of rows in which a virtual IP or port has to end: one node still translates it.
func staleRule() requirement.Control {
	return requirement.Control{
		Says: "one node's rule for the old address and port kept",
		Fault: &requirement.Fault{Points: []requirement.Point{
			fault.Midway(fault.OnOneNode(stillTranslated("prerouting"))),
			fault.Midway(fault.InPodOf(world.Near, stillTranslated("output"))),
		}},
		Red: []requirement.Reason{requirement.Answered},
	}
}

// stillTranslated sends what goes to the virtual IP that the check names at its middle to the near endpoint.
func stillTranslated(hook string) fault.Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		ends := env.MidwayEnds()
		if len(ends) == 0 {
			return nil, fmt.Errorf("the check named no virtual IP at its middle")
		}
		to, err := env.IP(ends[0])
		if err != nil {
			return nil, err
		}
		endpoint, err := env.IP(env.Role(world.WebNear))
		if err != nil {
			return nil, err
		}
		return []wire.Rule{{Hook: hook, Priority: fault.BeforeNAT, Proto: "tcp", To: to.String(), ToPort: world.ServicePort, Do: "dnat",
			Target: requirement.At(endpoint, world.TargetPort)}}, nil
	}
}

// tellMidway tells a fault at the check's middle of the virtual IP whose end is to be judged.
func tellMidway(ctx context.Context, env *requirement.Env, ip netip.Addr) error {
	return env.Midway(ctx, virtualEnd(ip))
}

// virtualEnd is a virtual IP as an end, for the faults that have to know of it.
func virtualEnd(ip netip.Addr) *requirement.End {
	return &requirement.End{Role: "virtual IP", IPs: []netip.Addr{ip}}
}

func deleted() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/deleted",
		Title: "The ClusterIP of a Service that was deleted answers on no node any more within a minute.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/networking/virtual-ips/",
			Says: "For each Service that exists a node's proxy has rules, made when it appears and removed with it: it watches the control plane for the " +
				"addition and removal of Services.",
		},
		Why: "The address goes to another Service some day. A node that still sends what goes there to the old pods hands the clients of one " +
			"application to another.",
		Roles: []world.Role{world.Everywhere, world.Near, world.WebNear}, PerFamily: true,
		Check:   checkDeleted,
		Control: staleRule(),
	}
}

func checkDeleted(ctx context.Context, env *requirement.Env) error {
	server := env.Role(world.WebNear)
	service, err := selecting(ctx, env, world.PodLabel, func(s *corev1.ServiceSpec) {
		s.Selector = map[string]string{world.PodLabel: server.Pod}
	})
	if err != nil {
		return err
	}
	ip, err := virtualIPOf(env, service)
	if err != nil {
		return err
	}
	watch, err := watchService(ctx, env, service)
	if err != nil {
		return err
	}
	if err := watch.Change(ctx, expectAnswers(serviceMade, server), unchanged); err != nil {
		return err
	}
	return watch.Change(ctx, turnsRed(expectNobody(serviceDeleted, atOwnAddress(server))), atOnce(func(ctx context.Context) error {
		if err := tellMidway(ctx, env, ip); err != nil {
			return err
		}
		return deleteService(ctx, env, service)
	}))
}

func deleteService(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen) error {
	err := env.Kube.CoreV1().Services(service.Namespace).Delete(ctx, service.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(service.UID))})
	if requirement.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the Service %s: %w", service.Name, err)
	}
	return nil
}

// otherPort is the port that a Service gets in place of ServicePort.
const otherPort = world.ServicePort + 1

func portChange() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/port-change",
		Title: "When a port of a Service is replaced by another, the new one answers and the old one no more, on every node within a minute.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/service.go",
			Says: "The upstream suite demands that Services and their endpoints follow the addition and removal of ports (\"should be updated after " +
				"adding or deleting ports\").",
		},
		Why: "The port is half of what a client dials. Rules are kept by name, protocol and port in most proxies, and the old port's are those that " +
			"stay behind.",
		Roles: []world.Role{world.Everywhere, world.Near, world.WebNear}, PerFamily: true,
		Check:   checkPortChange,
		Control: staleRule(),
	}
}

func checkPortChange(ctx context.Context, env *requirement.Env) error {
	server := env.Role(world.WebNear)
	service, err := selecting(ctx, env, world.PodLabel, onePortBefore(server))
	if err != nil {
		return err
	}
	ip, err := virtualIPOf(env, service)
	if err != nil {
		return err
	}
	old, err := watchService(ctx, env, service)
	if err != nil {
		return err
	}
	other := convergence.Begin(ctx, env, everywhere(env, "tcp", requirement.At(ip, otherPort))...)
	if err := old.Change(ctx, expectAnswers(serviceMade, server), unchanged); err != nil {
		return err
	}
	port := service.Spec.Ports[0]
	port.Port = otherPort
	if err := other.Change(ctx, expectAnswers(portAdded, server), atOnce(func(ctx context.Context) error {
		if err := tellMidway(ctx, env, ip); err != nil {
			return err
		}
		return patchService(ctx, env, service, map[string]any{"spec": map[string]any{"ports": []corev1.ServicePort{port}}})
	})); err != nil {
		return err
	}
	return old.Change(ctx, turnsRed(expectNobody(portRemoved, atOwnAddress(server))), unchanged)
}

func recreated() requirement.Requirement {
	return requirement.Requirement{
		ID: "service/recreated",
		Title: "A Service that is deleted and made again with the same ClusterIP sends its traffic to the new selector's pods alone, from every node " +
			"within a minute.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/",
			Says: "A Service may ask for a ClusterIP of its choice in the range, and gets it while no other Service has it; the upstream suite demands that " +
				"a Service works after it was made again.",
		},
		Why: "Tools that can't change a Service delete it and make it again within milliseconds. A proxy that sees both at once, and takes " +
			"the new one for the old, keeps sending to the old pods.",
		Roles: []world.Role{world.Everywhere, world.WebNear, world.SiblingA}, PerFamily: true,
		Check: checkRecreated,
		Control: requirement.Control{Says: "made again with the old selector", Variant: &requirement.Variant{Fixture: "old selector"},
			Red: []requirement.Reason{requirement.Stale}},
	}
}

func checkRecreated(ctx context.Context, env *requirement.Env) error {
	before, after := env.Role(world.WebNear), env.Role(world.SiblingA)
	choose := func(end *requirement.End) func(*corev1.ServiceSpec) {
		return func(s *corev1.ServiceSpec) { s.Selector = map[string]string{world.PodLabel: end.Pod} }
	}
	service, err := selecting(ctx, env, world.PodLabel, choose(before))
	if err != nil {
		return err
	}
	watch, err := watchService(ctx, env, service)
	if err != nil {
		return err
	}
	if err := watch.Change(ctx, expectAnswers(serviceMade, before), unchanged); err != nil {
		return err
	}
	return watch.Change(ctx, turnsRed(expectAnswers("a Service is made again with its ClusterIP", after)), atOnce(func(ctx context.Context) error {
		if err := deleteService(ctx, env, service); err != nil {
			return err
		}
		selected := after
		if env.Fixture("old selector") {
			selected = before
		}
		_, err := selecting(ctx, env, world.PodLabel, func(s *corev1.ServiceSpec) {
			choose(selected)(s)
			s.ClusterIP, s.ClusterIPs = service.Spec.ClusterIP, service.Spec.ClusterIPs
		})
		return err
	}))
}
