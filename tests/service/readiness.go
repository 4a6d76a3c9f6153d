package service

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/convergence"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

const notReadyPublished = "publishNotReadyAddresses"

func readiness() requirement.Requirement {
	return requirement.Requirement{
		ID:   "service/readiness",
		Long: true,
		Title: "A pod that turns ready gets its Service's traffic from every node, and one that turns unready gets none any more, both within a minute " +
			"of the pod's condition.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-probes",
			Says: "When a readiness probe fails, the pod's IP is removed from the endpoints of all Services that match it; the time that " +
				"this takes on the nodes is the SLI of network programming latency.",
		},
		Why: "Every rollout and every overload rests on it. A node whose proxy is late sends its clients to a server that said it can't serve. " +
			"Under load it is late on some nodes first.",
		Roles: []world.Role{world.Everywhere, world.Near},
		Check: checkReadiness,
		Control: requirement.Control{Says: notReadyPublished + " set on the Service", Variant: &requirement.Variant{Fixture: notReadyPublished},
			Red: []requirement.Reason{requirement.Answered}},
	}
}

// probedPod is a pod of the check's own that is ready while its probe is answered, which it is not yet: see readySwitch.
func probedPod(ctx context.Context, env *requirement.Env, label string) (*requirement.Started, error) {
	clients := env.Roles(world.Everywhere)
	pod := env.NewPod(clients[len(clients)-1].Node, world.Container("web", fmt.Sprintf("tcp=:%d", world.TargetPort), fmt.Sprintf("udp=:%d", world.TargetPort)))
	pod.Labels[label] = "yes"
	pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 1,
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt(env.Port(0))}}}
	return env.StartUntil(ctx, pod, isRunning)
}

// readySwitch is a probed pod: it answers a pod's readiness probe, or lets it be refused.
type readySwitch struct {
	env     *requirement.Env
	started *requirement.Started
	handle  string
}

func (s *readySwitch) end() *requirement.End { return s.started.Ends["web"] }

// set makes the pod ready or unready; the change is made when its condition is seen to be so.
func (s *readySwitch) set(ready bool) func(context.Context) (time.Time, error) {
	return func(ctx context.Context) (time.Time, error) {
		if ready {
			got, err := s.end().Listen(ctx, wire.Listen{Network: "http", Address: fmt.Sprintf(":%d", s.env.Port(0))})
			if err != nil {
				return time.Time{}, fmt.Errorf("opening the server of the readiness probe: %w", err)
			}
			if !got.Ok() {
				return time.Time{}, fmt.Errorf("%s cannot open the server of its readiness probe: %s", s.end(), got.Errno)
			}
			s.handle = got.Handle
			return podBecomes(ctx, s.env, s.started.Pod, "ready", requirement.Ready)
		}
		exchange.Release(ctx, s.end(), s.handle)
		return podBecomes(ctx, s.env, s.started.Pod, "unready", func(pod *corev1.Pod) bool { return !requirement.Ready(pod) })
	}
}

// turnsReady makes a Service and a pod behind it that turns ready, and waits until every node sends to it.
func turnsReady(ctx context.Context, env *requirement.Env, alter func(*corev1.ServiceSpec)) (service requirement.ServiceSeen, pod *readySwitch,
	watch *convergence.Watch, err error) {
	label := ownLabel()
	if service, err = selecting(ctx, env, label, alter); err != nil {
		return service, nil, nil, err
	}
	started, err := probedPod(ctx, env, label)
	if err != nil {
		return service, nil, nil, err
	}
	pod = &readySwitch{env: env, started: started}
	if watch, err = watchService(ctx, env, service); err != nil {
		return service, nil, nil, err
	}
	return service, pod, watch, watch.Change(ctx, expectAnswers("a pod turns ready", pod.end()), pod.set(true))
}

func checkReadiness(ctx context.Context, env *requirement.Env) error {
	_, pod, watch, err := turnsReady(ctx, env, func(s *corev1.ServiceSpec) {
		allFamilies(s)
		s.PublishNotReadyAddresses = env.Fixture(notReadyPublished)
	})
	if err != nil {
		return err
	}
	return watch.Change(ctx, turnsRed(expectNobody("a pod turns unready", atOwnAddress(pod.end()))), pod.set(false))
}

func publishNotReady() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/publish-not-ready",
		Long:  true,
		Title: "A Service with publishNotReadyAddresses sends traffic to a pod that is not ready yet, and goes on when it turns unready again.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/#ServiceSpec",
			Says: "publishNotReadyAddresses has every agent that deals with endpoints of the Service disregard whether they are ready; endpoints " +
				"that the controllers make for it count as ready even if the pods are not.",
		},
		Why: "Members of a database find each other by it before they are ready: without it none becomes ready, since each waits for the " +
			"others.",
		Roles: []world.Role{world.Everywhere, world.Near},
		Check: checkPublishNotReady,
		Control: requirement.Control{Says: "the field unset", Variant: &requirement.Variant{Fixture: "unset"},
			Red: []requirement.Reason{requirement.Refused, requirement.NoAnswer, requirement.Unreachable}},
	}
}

func checkPublishNotReady(ctx context.Context, env *requirement.Env) error {
	label := ownLabel()
	service, err := selecting(ctx, env, label, func(s *corev1.ServiceSpec) {
		allFamilies(s)
		s.PublishNotReadyAddresses = !env.Fixture("unset")
	})
	if err != nil {
		return err
	}
	started, err := probedPod(ctx, env, label)
	if err != nil {
		return err
	}
	pod := &readySwitch{env: env, started: started}
	watch, err := watchPatiently(ctx, env, service, noneLost)
	if err != nil {
		return err
	}
	goesOn := expectAnswers("the pod's turning ready and unready", pod.end())
	if err := watch.Change(ctx, turnsRed(expectAnswers(endpointJoins+", not ready, with publishNotReadyAddresses", pod.end())), unchanged); err != nil {
		return err
	}
	since := time.Now()
	for _, ready := range []bool{true, false} {
		if _, err := pod.set(ready)(ctx); err != nil {
			return err
		}
	}
	// Longer than a proxy's programming takes: kube-proxy follows within a second unless it is in trouble (minSyncPeriod).
	if err := settleFor(ctx, time.Second); err != nil {
		return err
	}
	asked, err := watch.Unbroken(ctx, since, goesOn)
	env.Note("%d questions were answered while the pod turned ready and unready", asked)
	return err
}

func unreadyKeepsConnections() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/unready-keeps-connections",
		Long:  true,
		Title: "A TCP connection through a ClusterIP goes on, with the same endpoint, when that endpoint turns unready; new ones no longer reach it.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tutorials/services/pods-and-endpoint-termination-flow/",
			Says: "An endpoint that is no longer ready gets no new traffic from load balancers, and serves on meanwhile, so that what is connected " +
				"can be drained.",
		},
		Why: "An overloaded server turns unready to get some air. If its connections were cut, all its clients would come back at once, to the " +
			"others.",
		Roles: []world.Role{world.Everywhere, world.Near},
		Check: checkUnreadyKeeps,
		Control: requirement.Control{
			Says: "what comes back on those connections dropped once the pod is unready",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.InPodOf(world.Near, fault.DropOwnPorts("input", "tcp"))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func checkUnreadyKeeps(ctx context.Context, env *requirement.Env) error {
	service, pod, watch, err := turnsReady(ctx, env, allFamilies)
	if err != nil {
		return err
	}
	held, err := holdEverywhere(ctx, env, service, pod.end())
	if err != nil {
		return err
	}
	using := convergence.Begin(ctx, env, held...)
	since := time.Now()
	if err := watch.Change(ctx, expectNobody("a pod turns unready", atOwnAddress(pod.end())), pod.set(false)); err != nil {
		return err
	}
	return stillHeld(ctx, env, using, since, expectAnswers("the endpoint's turning unready, on connections that stood before", pod.end()))
}
