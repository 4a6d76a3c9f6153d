package service

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/convergence"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// proxyHeld bounds the hold of a proxy: one wait for a change under a control, and a little more.
const proxyHeld = 20 * time.Second

func typeChanges() requirement.Requirement {
	return requirement.Requirement{
		ID: "service/type-changes",
		Title: "A Service changed from ClusterIP to NodePort, LoadBalancer, ExternalName and back has, on every node within a minute, " +
			"its new type's ports open and its former type's closed.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/service/#publishing-services-service-types",
			Says: "The types are nested: NodePort adds a port on every node to the cluster IP, LoadBalancer builds on NodePort; ExternalName has neither. " +
				"The upstream suite changes Services between them.",
		},
		Why: "A port that stays open after the Service was made internal again is a hole that nobody sees in the API. One that opens on some nodes alone " +
			"is an outage behind a load balancer.",
		Needs: []requirement.Feature{requirement.NodeAgent},
		Roles: []world.Role{world.Everywhere, world.Node, world.WebNear}, PerFamily: true,
		Services: []world.Service{world.NodePort}, // beside whose node port silence is judged
		Check:    checkTypeChanges,
		Control: requirement.Control{
			Says: "the service proxy of one node held by SIGSTOP",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.SuspendOnOneNode("kube-proxy", proxyHeld)),
			}},
			Red:   []requirement.Reason{requirement.Refused, requirement.NoAnswer, requirement.Unreachable},
			Alone: true, // Services that change meanwhile are stale on that node
		},
	}
}

func checkTypeChanges(ctx context.Context, env *requirement.Env) error {
	server := env.Role(world.WebNear)
	service, err := selecting(ctx, env, world.PodLabel, onePortBefore(server))
	if err != nil {
		return err
	}
	first, err := virtualIPOf(env, service)
	if err != nil {
		return err
	}
	atIP, err := watchService(ctx, env, service)
	if err != nil {
		return err
	}
	if err := atIP.Change(ctx, expectAnswers(serviceMade, server), unchanged); err != nil {
		return err
	}
	if err := env.Midway(ctx); err != nil {
		return err
	}
	made := time.Now()
	// The NodePort is known once it is given, and asked on every node from then on.
	if service, err = retype(ctx, env, service, corev1.ServiceTypeNodePort); err != nil {
		return err
	}
	port := int(service.Spec.Ports[0].NodePort)
	if port == 0 {
		return &requirement.Failure{Reason: requirement.Missing, Target: "Service " + service.Namespace + "/" + service.Name,
			Expected: "a node port once its type is NodePort", Observed: "none"}
	}
	atNodes, err := watchNodes(ctx, env, port)
	if err != nil {
		return err
	}
	onBoth := func(what string, by ...*requirement.End) error {
		ip, nodes := expectAnswers(what, by...), expectAnswers(what+", at the node port", by...)
		ip.Beside, nodes.Beside = atOwnAddress(server), atNodePort(env, world.NodePort)
		return sideBySide(ctx,
			func(ctx context.Context) error { return atIP.Change(ctx, ip, madeAt(made)) },
			func(ctx context.Context) error { return atNodes.Change(ctx, nodes, madeAt(made)) })
	}
	if err := atNodes.Change(ctx, turnsRed(expectAnswers("a node port opens", server)), madeAt(made)); err != nil {
		return err
	}
	made = time.Now()
	if service, err = retype(ctx, env, service, corev1.ServiceTypeLoadBalancer); err != nil {
		return err
	}
	if got := int(service.Spec.Ports[0].NodePort); got != port {
		return &requirement.Failure{Reason: requirement.Lost, Target: "Service " + service.Namespace + "/" + service.Name,
			Expected: fmt.Sprintf("the node port %d to stay when the type becomes LoadBalancer", port), Observed: fmt.Sprint(got)}
	}
	if err := onBoth("NodePort becomes LoadBalancer", server); err != nil {
		return err
	}
	made = time.Now()
	if _, err = retype(ctx, env, service, corev1.ServiceTypeExternalName); err != nil {
		return err
	}
	if err := onBoth("a Service becomes ExternalName"); err != nil {
		return err
	}
	return becomesClusterIP(ctx, env, service, atNodes, first)
}

// becomesClusterIP judges the last change, after which the node port, which is closed, stays so. first is the cluster IP that the Service
// had before it was ExternalName.
func becomesClusterIP(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, atNodes *convergence.Watch, first netip.Addr) error {
	made, server := time.Now(), env.Role(world.WebNear)
	service, err := retype(ctx, env, service, corev1.ServiceTypeClusterIP)
	if err != nil {
		return err
	}
	again, err := watchService(ctx, env, service)
	if err != nil {
		return err
	}
	now, err := virtualIPOf(env, service)
	if err != nil {
		return err
	}
	env.Note("%s: the cluster IP was %s before the Service was ExternalName and is %s after it", env.Family, first, now)
	return sideBySide(ctx,
		func(ctx context.Context) error {
			return again.Change(ctx, expectAnswers("ExternalName becomes ClusterIP", server), madeAt(made))
		},
		func(ctx context.Context) error {
			return atNodes.Change(ctx, expectNobody("ExternalName becomes ClusterIP, at the node port", atNodePort(env, world.NodePort)), madeAt(made))
		})
}

// sideBySide waits for changes that are seen at several addresses from the same moment on.
func sideBySide(ctx context.Context, each ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, do := range each {
		group.Go(func() error { return do(ctx) })
	}
	return group.Wait()
}

// retype changes the Service's type, and what the type demands: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/
func retype(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, to corev1.ServiceType) (requirement.ServiceSeen, error) {
	spec := map[string]any{"type": to, "externalName": nil}
	if to == corev1.ServiceTypeExternalName {
		spec["externalName"], spec["clusterIP"], spec["clusterIPs"] = "parley.invalid", nil, nil
	}
	if to == corev1.ServiceTypeClusterIP {
		spec["ipFamilies"], spec["ipFamilyPolicy"] = []corev1.IPFamily{env.Family}, corev1.IPFamilyPolicySingleStack
	}
	if to == corev1.ServiceTypeLoadBalancer {
		spec["loadBalancerClass"] = world.NobodysClass // no cloud makes one; the API server drops the class with the type
	}
	if err := patchService(ctx, env, service, map[string]any{"spec": spec}); err != nil {
		return service, err
	}
	is, err := env.Kube.CoreV1().Services(service.Namespace).Get(ctx, service.Name, metav1.GetOptions{})
	if err != nil {
		return service, fmt.Errorf("reading the Service %s: %w", service.Name, err)
	}
	return requirement.ServiceSeen{Service: is}, nil
}

// watchNodes has the client of each node ask its own node at the port, and one client all nodes that take no pods of the world.
func watchNodes(ctx context.Context, env *requirement.Env, port int) (*convergence.Watch, error) {
	clients := env.Roles(world.Everywhere)
	var asking []convergence.Client
	for _, node := range env.Roles(world.Node) {
		from := env.OnNode(world.Everywhere, node.Node)
		if from == nil {
			from = clients[0]
		}
		ip, err := env.IP(node)
		if err != nil {
			return nil, err
		}
		asking = append(asking, convergence.Client{From: from, Network: "tcp", Dial: requirement.At(ip, port)})
	}
	return convergence.Begin(ctx, env, asking...), nil
}
