package service

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/convergence"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

var udpPreserved = requirement.Clause{
	URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/conntrack.go",
	Says: "The upstream suite demands that a UDP client which keeps its source port is served on when the server pod cycles, and when the " +
		"first endpoint of a Service gets ready.",
}

// clientPort is the n of the fixed source port of a UDP client.
const clientPort = 2

// fixedClients are UDP clients on every node that keep their source port.
func fixedClients(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen) (*convergence.Watch, error) {
	ip, err := virtualIPOf(env, service)
	if err != nil {
		return nil, err
	}
	clients := everywhere(env, "udp", requirement.At(ip, world.ServicePort))
	for i := range clients {
		clients[i].Source = fmt.Sprintf(":%d", env.Port(clientPort))
	}
	return convergence.Begin(ctx, env, clients...), nil
}

func udpStaleConntrack() requirement.Requirement {
	return requirement.Requirement{
		ID:   "service/udp-stale-conntrack",
		Long: true,
		Title: "A UDP client that keeps sending from one source port is answered by the new endpoint within a minute, on every node, when its endpoint is " +
			"replaced.",
		Level:  requirement.Must,
		Clause: udpPreserved,
		Why: "UDP has no connection to end: the kernel keeps the translation to the dead endpoint as long as the client sends, and sends into the void. " +
			"DNS resolvers, syslog and SIP keep their port. The proxy has to clear the entry.",
		Roles: []world.Role{world.Everywhere, world.Near, world.SiblingA}, PerFamily: true,
		Check: checkUDPStale,
		Control: requirement.Control{
			Says: "the translation to the dead endpoint put back into connection tracking",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.StaleTracked(world.Near, clientPort, world.ServicePort, world.TargetPort)),
			}},
			Red: []requirement.Reason{requirement.NoAnswer, requirement.Unreachable, requirement.Refused},
		},
	}
}

func checkUDPStale(ctx context.Context, env *requirement.Env) error {
	label, next := ownLabel(), env.Role(world.SiblingA)
	service, err := selecting(ctx, env, label, nil)
	if err != nil {
		return err
	}
	ip, err := virtualIPOf(env, service)
	if err != nil {
		return err
	}
	clients := env.Roles(world.Everywhere)
	pod := env.NewPod(clients[len(clients)-1].Node, world.Container("web", fmt.Sprintf("udp=:%d", world.TargetPort)))
	pod.Labels[label] = "yes"
	started, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	first := started.Ends["web"]
	watch, err := fixedClients(ctx, env, service)
	if err != nil {
		return err
	}
	if err := watch.Change(ctx, expectAnswers("a Service is made, UDP from one source port", first), unchanged); err != nil {
		return err
	}
	if err := watch.Change(ctx, expectAnswers("a UDP client's endpoint is replaced", next), atOnce(func(ctx context.Context) error {
		if err := mark(ctx, env, next, label, true); err != nil {
			return err
		}
		return deletePod(ctx, env, started.Pod)
	})); err != nil {
		return err
	}
	if err := env.Midway(ctx, virtualEnd(ip), first); err != nil {
		return err
	}
	return watch.Change(ctx, turnsRed(expectAnswers("a UDP client goes on", next)), unchanged)
}

func udpFirstEndpoint() requirement.Requirement {
	return requirement.Requirement{
		ID:   "service/udp-first-endpoint",
		Long: true,
		Title: "A UDP client that sent from one source port before a Service had an endpoint is answered within a minute of the first endpoint's joining, on " +
			"every node.",
		Level:  requirement.Must,
		Clause: udpPreserved,
		Why: "What was sent in vain leaves an entry in connection tracking without a translation, which later packets follow past all rules. A " +
			"client that was there first then never reaches the Service, and every newcomer does.",
		Roles: []world.Role{world.Everywhere, world.Near, world.SiblingA}, PerFamily: true,
		Check: checkUDPFirst,
		Control: requirement.Control{
			Says: "an entry without a translation put into connection tracking",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.StaleTracked(world.Near, clientPort, world.ServicePort, 0)),
			}},
			Red: []requirement.Reason{requirement.NoAnswer, requirement.Unreachable, requirement.Refused},
		},
	}
}

func checkUDPFirst(ctx context.Context, env *requirement.Env) error {
	label, server := ownLabel(), env.Role(world.SiblingA)
	service, err := selecting(ctx, env, label, nil)
	if err != nil {
		return err
	}
	ip, err := virtualIPOf(env, service)
	if err != nil {
		return err
	}
	watch, err := fixedClients(ctx, env, service)
	if err != nil {
		return err
	}
	// Every client has to have sent in vain, more than once.
	began := time.Now()
	for range 2 {
		if _, err := watch.Unbroken(ctx, began, expectAnswers("the time without endpoints")); err != nil {
			return err
		}
	}
	if err := watch.Change(ctx, expectAnswers("the first endpoint of a UDP Service joins", server), atOnce(func(ctx context.Context) error {
		return mark(ctx, env, server, label, true)
	})); err != nil {
		return err
	}
	if err := env.Midway(ctx, virtualEnd(ip)); err != nil {
		return err
	}
	return watch.Change(ctx, turnsRed(expectAnswers("a UDP client goes on", server)), unchanged)
}
