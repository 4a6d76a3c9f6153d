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
		Roles:   []world.Role{world.WebNear, world.SiblingA},
		Check:   checkEndpointSlices,
		Control: extraSliceControl(requirement.Orphaned),
	}
}

// endpoint is what a slice has to say of a pod, in words that can be compared and printed.
func endpoint(address, pod, node, zone string, ready, serving, terminating bool, ports string) string {
	return fmt.Sprintf("%s (pod %s, node %s, zone %q, ready %t, serving %t, terminating %t, ports %s)", address, pod, node, zone, ready, serving, terminating, ports)
}

func checkEndpointSlices(ctx context.Context, env *requirement.Env) error {
	label := ownLabel()
	service, err := selecting(ctx, env, label, allFamilies)
	if err != nil {
		return err
	}
	// One pod of each kind: ready, ending and still serving, not ready, and over. Another has another label.
	ready, stranger := env.Role(world.WebNear), env.Role(world.SiblingA)
	if err := mark(ctx, env, ready, label, true); err != nil {
		return err
	}
	serves := fmt.Sprintf("tcp=:%d", world.TargetPort)
	unready := env.NewPod(ready.Node, world.Container("web", serves))
	unready.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
		Exec: &corev1.ExecAction{Command: []string{"/agent", "exists", "/run/parley/never"}}}}
	ending := env.NewPod(ready.Node, world.Container("web", serves))
	draining(ending)
	over := env.NewPod(ready.Node, world.Container("web", serves))
	over.Spec.RestartPolicy = corev1.RestartPolicyNever
	over.Spec.Containers[0].Command, over.Spec.Containers[0].Args = []string{"/agent"}, []string{"note", "/tmp/over"}
	kinds := []struct {
		pod    *corev1.Pod
		enough func(*corev1.Pod) bool
	}{{unready, isRunning}, {ending, requirement.Ready}, {over, func(pod *corev1.Pod) bool {
		return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	}}}
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
		return err
	}
	drained := started[1].Ends["web"]
	env.Defer(func(ctx context.Context) error {
		if finish(ctx, drained) != nil {
			return nil // the hook ends by itself, and the pod's removal says what remains
		}
		return nil
	})
	if err := deletePod(ctx, env, started[1].Pod); err != nil {
		return err
	}
	if err := keepBySlice(ctx, env, service, stranger); err != nil {
		return err
	}
	node, err := env.Kube.CoreV1().Nodes().Get(ctx, ready.Node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the node %s: %w", ready.Node, err)
	}
	zone := node.Labels[corev1.LabelTopologyZone]
	ports := portWords(service.Spec.Ports)
	var want []string
	for _, e := range []struct {
		end                         *requirement.End
		ready, serving, terminating bool
	}{{ready, true, true, false}, {started[0].Ends["web"], false, false, false}, {drained, false, true, true}} {
		for _, family := range service.Spec.IPFamilies {
			ip, ok := e.end.IP(family)
			if !ok {
				return fmt.Errorf("%s has no %s address in its status (%v)", e.end, family, e.end.IPs)
			}
			want = append(want, endpoint(ip.String(), e.end.Pod, e.end.Node, zone, e.ready, e.serving, e.terminating, ports))
		}
	}
	slices.Sort(want)
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

func portWords(ports []corev1.ServicePort) string {
	var words []string
	for _, p := range ports {
		words = append(words, fmt.Sprintf("%s %d/%s", p.Name, p.TargetPort.IntVal, p.Protocol))
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// sameEndpoints compares what all of the Service's slices say with what is wanted.
func sameEndpoints(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, want []string) error {
	list, err := env.Kube.DiscoveryV1().EndpointSlices(service.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
	if err != nil {
		return fmt.Errorf("reading the EndpointSlices of %s: %w", service.Name, err)
	}
	var got []string
	for _, slice := range list.Items {
		var ports []corev1.ServicePort
		for _, p := range slice.Ports {
			one := corev1.ServicePort{}
			if p.Name != nil {
				one.Name = *p.Name
			}
			if p.Protocol != nil {
				one.Protocol = *p.Protocol
			}
			if p.Port != nil {
				one.TargetPort.IntVal = *p.Port
			}
			ports = append(ports, one)
		}
		is := func(b *bool) bool { return b != nil && *b }
		for _, e := range slice.Endpoints {
			pod, node, zone := "none", "none", ""
			if e.TargetRef != nil {
				pod = e.TargetRef.Name
			}
			if e.NodeName != nil {
				node = *e.NodeName
			}
			if e.Zone != nil {
				zone = *e.Zone
			}
			got = append(got, endpoint(strings.Join(e.Addresses, "+"), pod, node, zone, is(e.Conditions.Ready), is(e.Conditions.Serving), is(e.Conditions.Terminating), portWords(ports)))
		}
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
