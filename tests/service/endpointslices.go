package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

func endpointSlices() requirement.Requirement {
	return requirement.Requirement{
		ID:   "service/endpoint-slices",
		Long: true,
		Title: "A Service's EndpointSlices hold exactly the selected pods that run, of each its IP, node, zone and ports, with the right ready, serving and " +
			"terminating conditions.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/",
			Says: "The control plane makes EndpointSlices with references to all the pods that match the selector; each endpoint has conditions ready, " +
				"serving and terminating, its node and its zone.",
		},
		Why:     "Every proxy, ingress and mesh reads these objects and no pods. What is wrong here is wrong for all of them, on every node at once.",
		OneNode: "the slices are objects of the API, the same for every node",
		Roles:   []world.Role{world.WebNear, world.SiblingA},
		Check:   checkEndpointSlices,
		Control: extraSliceControl(requirement.Orphaned),
	}
}

// endpoint is what a slice has to say of a pod.
type endpoint struct {
	address, pod, node, zone    string
	ready, serving, terminating bool
	ports                       string
}

// String has all of it, so that it can be compared, ordered and printed.
func (e endpoint) String() string {
	return fmt.Sprintf("%s (pod %s, node %s, zone %q, ready %t, serving %t, terminating %t, ports %s)",
		e.address, e.pod, e.node, e.zone, e.ready, e.serving, e.terminating, e.ports)
}

// checkEndpointSlices has one pod of each kind behind a Service: ready, not ready, ending and still serving, and over. Another pod
// has another label.
func checkEndpointSlices(ctx context.Context, env *requirement.Env) error {
	label := ownLabel()
	service, err := selecting(ctx, env, label, allFamilies)
	if err != nil {
		return err
	}
	ready, stranger := env.Role(world.WebNear), env.Role(world.SiblingA)
	if err := mark(ctx, env, ready, label, true); err != nil {
		return err
	}
	unready, ending, err := startBesideReady(ctx, env, ready.Node, label)
	if err != nil {
		return err
	}
	if err := deletePod(ctx, env, ending.Pod); err != nil {
		return err
	}
	if err := keepBySlice(ctx, env, service, stranger); err != nil {
		return err
	}
	want, err := endpointsOf(ctx, env, service, []podConditions{
		{end: ready, ready: true, serving: true}, {end: unready.Ends["web"]}, {end: ending.Ends["web"], serving: true, terminating: true}})
	if err != nil {
		return err
	}
	within := programmedWithin
	if env.Patience == 0 {
		within = redWithin
	}
	seen, err := until.Settled(ctx, until.Policy{Within: within}, func(ctx context.Context) error { return sameEndpoints(ctx, env, service, want) })
	if f := requirement.AsFailure(err); f != nil {
		f.Attempts, f.Took = seen.Attempts, seen.Took
		return f
	}
	return err
}

// startBesideReady starts the pods that the label selects beside the ready one, all at once, on its node: one that never gets
// ready, one that goes on serving for a while when it is deleted, and one that is over, which no slice may have.
func startBesideReady(ctx context.Context, env *requirement.Env, node, label string) (unready, ending *requirement.Started, err error) {
	serves := fmt.Sprintf("tcp=:%d", world.TargetPort)
	never := env.NewPod(node, world.Container("web", serves))
	never.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
		Exec: &corev1.ExecAction{Command: []string{"/agent", "exists", "/run/parley/never"}}}}
	drains := env.NewPod(node, world.Container("web", serves))
	draining(drains)
	over := env.NewPod(node, world.Container("web", serves))
	over.Spec.RestartPolicy = corev1.RestartPolicyNever
	over.Spec.Containers[0].Command, over.Spec.Containers[0].Args = []string{"/agent"}, []string{"note", "/tmp/over"}
	kinds := []struct {
		pod    *corev1.Pod
		enough func(*corev1.Pod) bool
	}{{never, isRunning}, {drains, requirement.Ready}, {over, isOver}}
	started := make([]*requirement.Started, len(kinds))
	failed := make(chan error, len(kinds))
	for i, kind := range kinds {
		kind.pod.Labels[label] = "yes"
		go func() {
			var err error
			started[i], err = env.StartUntil(ctx, kind.pod, kind.enough)
			failed <- err
		}()
	}
	var problems []error
	for range kinds {
		problems = append(problems, <-failed)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, nil, err
	}
	unready, ending = started[0], started[1]
	env.Defer(func(ctx context.Context) error {
		if finish(ctx, ending.Ends["web"]) != nil {
			return nil // the hook ends by itself, and the pod's removal says what remains
		}
		return nil
	})
	return unready, ending, nil
}

func isOver(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

// podConditions is a pod and the conditions of its endpoints.
type podConditions struct {
	end                         *requirement.End
	ready, serving, terminating bool
}

// endpointsOf is what the Service's slices have to say of the pods, an endpoint for each address family, in order.
func endpointsOf(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, pods []podConditions) (want []string, err error) {
	name := pods[0].end.Node
	node, err := env.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the node %s: %w", name, err)
	}
	for _, p := range pods {
		for _, family := range service.Spec.IPFamilies {
			ip, ok := p.end.IP(family)
			if !ok {
				return nil, fmt.Errorf("%s has no %s address in its status (%v)", p.end, family, p.end.IPs)
			}
			want = append(want, endpoint{address: ip.String(), pod: p.end.Pod, node: p.end.Node, zone: node.Labels[corev1.LabelTopologyZone],
				ready: p.ready, serving: p.serving, terminating: p.terminating, ports: portWords(service.Spec.Ports)}.String())
		}
	}
	slices.Sort(want)
	return want, nil
}

func portWords(ports []corev1.ServicePort) string {
	var words []string
	for _, p := range ports {
		words = append(words, fmt.Sprintf("%s %d/%s", p.Name, p.TargetPort.IntVal, p.Protocol))
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// endpointsIn is what one slice says.
func endpointsIn(slice discoveryv1.EndpointSlice) (got []string) {
	var ports []corev1.ServicePort
	for _, p := range slice.Ports {
		ports = append(ports, corev1.ServicePort{Name: ptr.Deref(p.Name, ""), Protocol: ptr.Deref(p.Protocol, ""),
			TargetPort: intstr.FromInt32(ptr.Deref(p.Port, 0))})
	}
	for _, e := range slice.Endpoints {
		is := endpoint{address: strings.Join(e.Addresses, "+"), pod: "none", node: ptr.Deref(e.NodeName, "none"), zone: ptr.Deref(e.Zone, ""),
			ready: ptr.Deref(e.Conditions.Ready, false), serving: ptr.Deref(e.Conditions.Serving, false),
			terminating: ptr.Deref(e.Conditions.Terminating, false), ports: portWords(ports)}
		if e.TargetRef != nil {
			is.pod = e.TargetRef.Name
		}
		got = append(got, is.String())
	}
	return got
}

// sameEndpoints compares what all of the Service's slices say with what is wanted.
func sameEndpoints(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, want []string) error {
	list, err := env.Kube.DiscoveryV1().EndpointSlices(service.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
	if err != nil {
		return fmt.Errorf("reading the EndpointSlices of %s: %w", service.Name, err)
	}
	var got []string
	for _, slice := range list.Items {
		got = append(got, endpointsIn(slice)...)
	}
	slices.Sort(got)
	if slices.Equal(got, want) {
		return nil
	}
	without := func(of, all []string) (left []string) {
		for _, e := range of {
			if !slices.Contains(all, e) {
				left = append(left, e)
			}
		}
		return left
	}
	lost, more := without(want, got), without(got, want)
	f := &requirement.Failure{Reason: requirement.Missing, Target: "EndpointSlices of Service " + service.Namespace + "/" + service.Name,
		Expected: "the endpoint " + strings.Join(lost, "; "), Observed: "no such endpoint",
		Again: fmt.Sprintf("kubectl get endpointslices -n %s -l %s=%s -o yaml", service.Namespace, discoveryv1.LabelServiceName, service.Name)}
	switch {
	case len(lost) > 0 && len(more) > 0:
		f.Reason, f.Observed = requirement.WrongSetting, strings.Join(more, "; ")
	case len(lost) == 0:
		f.Reason, f.Expected, f.Observed = requirement.Orphaned, "no endpoint beside "+strings.Join(want, "; "), strings.Join(more, "; ")
	}
	return f
}
