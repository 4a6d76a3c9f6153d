package service

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/convergence"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// programmedWithin bounds how long a change may take until every node's data path follows it. The SLI is that of
// https://github.com/kubernetes/community/blob/master/sig-scalability/slos/network_programming_latency.md, which leaves its
// bound open; this one is twice the upstream suite's own for endpoints (KubeProxyEndpointLagTimeout), since nodes are busy:
// https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/framework/service/const.go
const programmedWithin = time.Minute

// redWithin is the bound in its place under a control, which is to turn red soon.
const redWithin = 3 * time.Second

// noneLost bounds a question in rows in which none may fail: a SYN is sent again after 1 s and 3 s (RFC 6298), and the machine
// may be busy.
const noneLost = 5 * time.Second

// What is measured, as the report has it.
const (
	endpointJoins  = "an endpoint joins"
	endpointLeaves = "an endpoint leaves"
	endpointMoves  = "the endpoints are replaced by others"
	serviceMade    = "a Service is made"
	serviceDeleted = "a Service is deleted"
	portAdded      = "a port is added"
	portRemoved    = "a port is removed"
)

// programming is the clause of the rows for which only the time is left to a source of its own.
const programmingSLI = "https://github.com/kubernetes/community/blob/master/sig-scalability/slos/network_programming_latency.md"

// selecting makes a Service of the check's own in the family in force, TCP and UDP, for the pods that have the label.
func selecting(ctx context.Context, env *requirement.Env, label string, alter func(*corev1.ServiceSpec)) (requirement.ServiceSeen, error) {
	single, target := corev1.IPFamilyPolicySingleStack, intstr.FromInt32(world.TargetPort)
	spec := corev1.ServiceSpec{Selector: map[string]string{label: "yes"}, IPFamilyPolicy: &single, IPFamilies: []corev1.IPFamily{env.Family},
		Ports: []corev1.ServicePort{
			{Name: "tcp", Protocol: corev1.ProtocolTCP, Port: world.ServicePort, TargetPort: target},
			{Name: "udp", Protocol: corev1.ProtocolUDP, Port: world.ServicePort, TargetPort: target},
		}}
	if alter != nil {
		alter(&spec)
	}
	return ownService(ctx, env, env.Namespace(), spec)
}

// onePortBefore has a Service select that pod alone, and keeps its first port.
func onePortBefore(server *requirement.End) func(*corev1.ServiceSpec) {
	return func(s *corev1.ServiceSpec) {
		s.Selector = map[string]string{world.PodLabel: server.Pod}
		s.Ports = s.Ports[:1]
	}
}

// everywhere is a client on every node that asks the address.
func everywhere(env *requirement.Env, network, address string) (clients []convergence.Client) {
	for _, end := range env.Roles(world.Everywhere) {
		clients = append(clients, convergence.Client{From: end, Network: network, Dial: address})
	}
	return clients
}

// watchService has clients on every node ask the Service's cluster IPs over TCP: the one, or both of a dual-stack Service.
func watchService(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen) (*convergence.Watch, error) {
	return watchPatiently(ctx, env, service, 0)
}

// watchPatiently gives each question so much time: for rows in which none may fail, a lost packet's retransmission included.
func watchPatiently(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, within time.Duration) (*convergence.Watch, error) {
	ips, err := clusterIPsOf(service)
	if err != nil {
		return nil, err
	}
	var clients []convergence.Client
	for _, ip := range ips {
		for _, client := range everywhere(env, "tcp", requirement.At(ip, world.ServicePort)) {
			client.Within = within
			clients = append(clients, client)
		}
	}
	return convergence.Begin(ctx, env, clients...), nil
}

// clusterIPsOf are all cluster IPs of the Service.
func clusterIPsOf(service requirement.ServiceSeen) (ips []netip.Addr, err error) {
	for _, text := range service.Spec.ClusterIPs {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("the Service %s has the cluster IP %q: %w", service.Name, text, err)
		}
		ips = append(ips, ip)
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("the Service %s was given no cluster IP", service.Name)
	}
	return ips, nil
}

// allFamilies has the Service take every family of the cluster. The rows that start or end pods of their own ask over all of
// them in one pass: it is the pods that take the time, and each address is judged and named by itself.
func allFamilies(spec *corev1.ServiceSpec) {
	prefer := corev1.IPFamilyPolicyPreferDualStack
	spec.IPFamilyPolicy, spec.IPFamilies = &prefer, nil
}

// expectAnswers is what is expected after the change: answers by those ordinary pods alone.
func expectAnswers(what string, by ...*requirement.End) convergence.Expect {
	expect := convergence.Expect{What: what, Within: programmedWithin}
	for _, end := range by {
		expect.By = append(expect.By, end.Pod)
	}
	return expect
}

// expectNobody is that nobody answers after the change, while what is asked beside answers all along.
func expectNobody(what string, beside func(convergence.Client) (string, error)) convergence.Expect {
	expect := expectAnswers(what)
	expect.Beside = beside
	return expect
}

// atOwnAddress is the end's own address in the family of what the client dials.
func atOwnAddress(end *requirement.End) func(convergence.Client) (string, error) {
	return func(c convergence.Client) (string, error) {
		to, err := netip.ParseAddrPort(c.Dial)
		if err != nil {
			return "", fmt.Errorf("what %s dials: %w", c.From, err)
		}
		for _, ip := range end.IPs {
			if ip.Is4() == to.Addr().Is4() {
				return requirement.At(ip, world.TargetPort), nil
			}
		}
		return "", fmt.Errorf("%s has no address of the family of %s (%v)", end, c.Dial, end.IPs)
	}
}

// atNodePort is the node port of the Service at the node that the client dials.
func atNodePort(env *requirement.Env, service world.Service) func(convergence.Client) (string, error) {
	return func(c convergence.Client) (string, error) {
		to, err := netip.ParseAddrPort(c.Dial)
		if err != nil {
			return "", fmt.Errorf("what %s dials: %w", c.From, err)
		}
		return requirement.At(to.Addr(), int(env.Service(service).Spec.Ports[0].NodePort)), nil
	}
}

// atOnce is a change that is made when it is asked for.
func atOnce(change func(context.Context) error) func(context.Context) (time.Time, error) {
	return func(ctx context.Context) (time.Time, error) { return time.Time{}, change(ctx) }
}

// turnsRed marks the step that the control turns red.
func turnsRed(expect convergence.Expect) convergence.Expect {
	expect.Red = true
	return expect
}

// madeAt is a change that was made at that time.
func madeAt(at time.Time) func(context.Context) (time.Time, error) {
	return func(context.Context) (time.Time, error) { return at, nil }
}

// unchanged waits without a change, for what was changed just before.
func unchanged(context.Context) (time.Time, error) { return time.Time{}, nil }

// mark gives the end's pod a label, or takes it away; what was given is taken away after the check.
func mark(ctx context.Context, env *requirement.Env, end *requirement.End, label string, on bool) error {
	var value any
	if on {
		value = "yes"
		env.Defer(func(ctx context.Context) error {
			if err := mark(ctx, env, end, label, false); !apierrors.IsNotFound(err) {
				return err
			}
			return nil
		})
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{label: value}}})
	if err != nil {
		return err
	}
	if _, err = env.Kube.CoreV1().Pods(end.Namespace).Patch(ctx, end.Pod, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("labelling the pod %s: %w", end.Pod, err)
	}
	return nil
}

// ownLabel is a label that selects for one check alone.
func ownLabel() string { return "parley.dev/change-" + rand.String(12) }

// extraSlice is the control of rows in which an endpoint has to leave: a hand-written EndpointSlice of the Service keeps it.
const extraSlice = "a hand-written extra EndpointSlice keeps the address that left"

// keepBySlice writes that slice where the control is in force. Slices that are not the controller's are left alone by it and
// followed by proxies: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#management
func keepBySlice(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, ends ...*requirement.End) error {
	if !env.Fixture(extraSlice) {
		return nil
	}
	var ips []netip.Addr
	for _, end := range ends {
		ip, err := env.IP(end)
		if err != nil {
			return err
		}
		ips = append(ips, ip)
	}
	_, err := handMade(ctx, env, service, slicePort("tcp", corev1.ProtocolTCP, world.TargetPort), ips...)
	return err
}

func extraSliceControl(red ...requirement.Reason) requirement.Control {
	return requirement.Control{Says: extraSlice, Variant: &requirement.Variant{Fixture: extraSlice}, Red: red}
}

// podBecomes waits until the pod is as right says, and says when that was seen: a watch tells of it as it happens.
func podBecomes(ctx context.Context, env *requirement.Env, pod *corev1.Pod, words string, right func(*corev1.Pod) bool) (time.Time, error) {
	pods := env.Kube.CoreV1().Pods(pod.Namespace)
	ctx, cancel := context.WithTimeoutCause(ctx, kubeletActs, fmt.Errorf("the pod %s did not become %s within %s", pod.Name, words, kubeletActs))
	defer cancel()
	var at time.Time
	_, err := until.Settled(ctx, until.Policy{Within: kubeletActs}, func(ctx context.Context) error {
		seen, err := pods.Watch(ctx, metav1.SingleObject(metav1.ObjectMeta{Name: pod.Name}))
		if err != nil {
			return fmt.Errorf("watching the pod %s: %w", pod.Name, err)
		}
		defer seen.Stop()
		for event := range seen.ResultChan() {
			if is, ok := event.Object.(*corev1.Pod); ok && is.UID == pod.UID && right(is) {
				at = time.Now()
				return nil
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("the watch of the pod %s ended", pod.Name)
	})
	return at, err
}

// kubeletActs bounds how long a kubelet may take for what it does within a second or two, since nodes are busy.
const kubeletActs = 30 * time.Second

func isRunning(pod *corev1.Pod) bool {
	return len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].State.Running != nil && pod.Status.PodIP != ""
}
