package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// component is one line of the documented tables of ports.
type component struct {
	name  string
	label string // of its pods in kube-system, "" for the kubelet
	ports []int
	// everywhere: all nodes have to reach it, not its own node alone.
	everywhere bool
}

// schedulerPort is the scheduler's documented one.
const schedulerPort = 10259

// The documented defaults; the API server's and the kubelets' own ports are read from the API, which has what is used.
func documentedPorts(api int) []component {
	return []component{
		{name: "API server", label: "component=kube-apiserver", ports: []int{api}, everywhere: true},
		{name: "etcd", label: "component=etcd", ports: []int{2379, 2380}},
		{name: "scheduler", label: "component=kube-scheduler", ports: []int{schedulerPort}},
		{name: "controller manager", label: "component=kube-controller-manager", ports: []int{10257}},
		{name: "kube-proxy", label: "k8s-app=kube-proxy", ports: []int{proxyHealthPort}},
	}
}

func requiredPorts() requirement.Requirement {
	return requirement.Requirement{
		ID: "node/required-ports",
		Title: "The documented ports of the control plane and of nodes answer on the nodes that run their component, those that other nodes " +
			"use from there too, and on no node that does not run it.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/networking/ports-and-protocols/",
			Says: "Control plane: 6443 for all, 2379 and 2380 for the API server and etcd, 10250 for the control plane, 10259 and 10257 " +
				"for the node itself. Nodes: 10250 for the control plane, 10256 for the node and load balancers. All may be changed.",
		},
		Why: "These are the ports that a firewall between nodes has to let through. A closed one shows late, in a log that nobody reads: " +
			"a control plane node that can't join, a leader that is never elected, kubectl logs that hang. Where a component does not run, five " +
			"attempts in a row are not taken, each beside one to the kubelet that is.",
		Needs:       []requirement.Feature{requirement.NodeAgent},
		PodSecurity: "privileged",
		Roles:       []world.Role{world.Node},
		Check:       portsAnswer,
		Control: requirement.Control{
			Says: "what comes from the check's own ports to the kubelet of one node dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
					return []wire.Rule{{Hook: "input", Priority: fault.BeforeAll, Proto: "tcp", ToPort: kubeletPort,
						FromPort: env.Base, FromPortEnd: env.Base + requirement.PortsEach - 1, Do: "drop"}}, nil
				}),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{
			{Says: "what comes from the check's own ports to the service proxy of one node dropped",
				Fault: &requirement.Fault{Points: []requirement.Point{
					fault.OnOneNode(func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
						return []wire.Rule{{Hook: "input", Priority: fault.BeforeAll, Proto: "tcp", ToPort: proxyHealthPort,
							FromPort: env.Base, FromPortEnd: env.Base + requirement.PortsEach - 1, Do: "drop"}}, nil
					})}},
				Red: []requirement.Reason{requirement.NoAnswer}},
			{Says: "somebody else on the scheduler's port of a node that runs no scheduler",
				Variant: &requirement.Variant{ClusterScoped: "a listener on a port of the control plane on one node", Make: squatSchedulerPort},
				Red:     []requirement.Reason{requirement.Answered}},
		},
	}
}

// squatSchedulerPort listens on the scheduler's port of a node where nobody does.
func squatSchedulerPort(ctx context.Context, env *requirement.Env) (func(context.Context) error, error) {
	for _, end := range env.Roles(world.Node) {
		server, err := end.Listen(ctx, wire.Listen{Network: "tcp", Address: requirement.At(env.Any(), schedulerPort)})
		if err != nil {
			return nil, fmt.Errorf("opening the scheduler's port on %s: %w", end.Node, err)
		}
		if server.Ok() {
			return func(ctx context.Context) error { return end.Release(ctx, server.Handle) }, nil
		}
	}
	return nil, errors.New("the scheduler's port is taken on every node")
}

func portsAnswer(ctx context.Context, env *requirement.Env) error {
	api, err := apiServerPort(ctx, env)
	if err != nil {
		return err
	}
	components := documentedPorts(api)
	if err := kubeletsAnswer(ctx, env, components[0]); err != nil {
		return err
	}
	var closed []closedPort
	for _, c := range components {
		more, err := componentAnswers(ctx, env, c)
		if err != nil {
			return err
		}
		closed = append(closed, more...)
	}
	return allClosed(ctx, env, closed)
}

// kubeletsAnswer judges the kubelets' port: from each node itself, and from those that run an API server. One that runs elsewhere has its own
// way to the kubelets, by which node/api-to-kubelet-exec judges them.
func kubeletsAnswer(ctx context.Context, env *requirement.Env, apiServer component) error {
	control, err := nodesOf(ctx, env, apiServer)
	if err != nil {
		return err
	}
	ends := env.Roles(world.Node)
	for _, end := range ends {
		port, err := kubeletPortOf(ctx, env, end)
		if err != nil {
			return err
		}
		for _, from := range ends {
			if from != end && !control[from.Node] {
				continue
			}
			if err := portAnswers(ctx, env, from, end, "kubelet", port); err != nil {
				return err
			}
		}
	}
	return nil
}

// nodesOf are the nodes that run the component in a pod.
func nodesOf(ctx context.Context, env *requirement.Env, c component) (map[string]bool, error) {
	pods, err := env.Kube.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: c.label})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of the %s: %w", c.name, err)
	}
	running := map[string]bool{}
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodRunning {
			running[pod.Spec.NodeName] = true
		}
	}
	return running, nil
}

// componentAnswers judges one component on the nodes that run it, and gives its ports on the others, which are to be closed. One that runs in
// no pod is not looked at: it may be managed by somebody else, or run in another form.
func componentAnswers(ctx context.Context, env *requirement.Env, c component) (closed []closedPort, err error) {
	running, err := nodesOf(ctx, env, c)
	if err != nil {
		return nil, err
	}
	if len(running) == 0 {
		env.Note("the %s runs in no pod of kube-system labelled %s, and was not looked at", c.name, c.label)
		return nil, nil
	}
	ends := env.Roles(world.Node)
	for _, end := range ends {
		for _, port := range c.ports {
			if !running[end.Node] {
				closed = append(closed, closedPort{end, c.name, port})
				continue
			}
			froms := []*requirement.End{end}
			if c.everywhere {
				froms = ends
			}
			for _, from := range froms {
				if err := portAnswers(ctx, env, from, end, c.name, port); err != nil {
					return nil, err
				}
			}
		}
	}
	return closed, nil
}

// portAnswers says whether the port takes connections: at the node's address, or for the node itself on loopback too.
func portAnswers(ctx context.Context, env *requirement.Env, from, to *requirement.End, what string, port int) error {
	return env.Until(ctx, func(ctx context.Context) error {
		seen, err := knock(ctx, env, from, to.IPs[0], port)
		if err != nil || seen.Ok() {
			return err
		}
		if from == to {
			own, err := knock(ctx, env, from, env.Loopback(), port)
			if err != nil || own.Ok() {
				return err
			}
		}
		return portFailure(from, to, requirement.ReasonOf(seen.Errno), port, "the "+what+" to take a connection", seen.Errno.String())
	})
}

// closedPort is a port of a component on a node that does not run it.
type closedPort struct {
	end  *requirement.End
	what string
	port int
}

// allClosed says whether nothing takes connections at any of the ports, from the node itself: several attempts in a row, each beside one to
// the node's kubelet that is taken. One that is taken is final, whatever was seen before or is seen after it.
func allClosed(ctx context.Context, env *requirement.Env, ports []closedPort) error {
	heard := map[*requirement.End]exchange.Talk{}
	for _, p := range ports {
		if _, known := heard[p.end]; known {
			continue
		}
		talk, err := kubeletOf(ctx, env, p.end)
		if err != nil {
			return err
		}
		heard[p.end] = talk
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range ports {
		for _, ip := range []netip.Addr{p.end.IPs[0], env.Loopback()} {
			group.Go(func() error {
				talk := exchange.Talk{From: p.end, Network: "tcp", Knock: true, Dial: requirement.At(ip, p.port)}
				_, err := exchange.Silent(ctx, env, talk, heard[p.end], "the port of the "+p.what+", which does not run on node "+p.end.Node)
				if f := requirement.AsFailure(err); f != nil && f.Reason == requirement.Answered {
					f.To, f.Again = p.end, fmt.Sprintf("nc -vz %s %d   (on node %s)", ip, p.port, p.end.Node)
				}
				return err
			})
		}
	}
	return group.Wait()
}

// kubeletOf is a connection to the node's kubelet from the node itself, at the node's address, or on loopback where it listens there alone.
func kubeletOf(ctx context.Context, env *requirement.Env, end *requirement.End) (exchange.Talk, error) {
	port, err := kubeletPortOf(ctx, env, end)
	if err != nil {
		return exchange.Talk{}, err
	}
	talk := exchange.Talk{From: end, To: end, Network: "tcp", Knock: true, Dial: requirement.At(end.IPs[0], port)}
	seen, err := exchange.Once(ctx, env, talk)
	if err == nil && !seen.Ok() {
		talk.Dial = requirement.At(env.Loopback(), port)
	}
	return talk, err
}

func kubeletPortOf(ctx context.Context, env *requirement.Env, end *requirement.End) (int, error) {
	node, err := env.Kube.CoreV1().Nodes().Get(ctx, end.Node, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("reading Node %s: %w", end.Node, err)
	}
	return int(node.Status.DaemonEndpoints.KubeletEndpoint.Port), nil
}

func portFailure(from, to *requirement.End, reason requirement.Reason, port int, expected, observed string) error {
	target := requirement.At(to.IPs[0], port)
	return &requirement.Failure{Reason: reason, From: from, To: to, Target: target, Protocol: "tcp", Expected: expected, Observed: observed,
		Again: fmt.Sprintf("nc -vz %s %d   (on node %s)", to.IPs[0], port, from.Node)}
}

// knock dials from the check's own ports, so that a fault can match it alone.
func knock(ctx context.Context, env *requirement.Env, from *requirement.End, ip netip.Addr, port int) (wire.Exchange, error) {
	got, err := from.Connect(ctx, wire.Connect{Network: "tcp", Address: requirement.At(ip, port), Knock: true,
		Source: ":" + strconv.Itoa(env.Port(0)), Timeout: int(env.Attempt.Milliseconds())})
	if err != nil || len(got.Seen) != 1 {
		return wire.Exchange{}, fmt.Errorf("asking %s to dial port %d: %w", from, port, err)
	}
	return got.Seen[0], nil
}

// apiServerPort is where the API servers listen, by the endpoints of default/kubernetes.
func apiServerPort(ctx context.Context, env *requirement.Env) (int, error) {
	slices, err := env.Kube.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx,
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return 0, fmt.Errorf("listing the endpoints of default/kubernetes: %w", err)
	}
	for _, slice := range slices.Items {
		for _, port := range slice.Ports {
			if port.Port != nil && port.Name != nil && strings.HasPrefix(*port.Name, "https") {
				return int(*port.Port), nil
			}
		}
	}
	return 0, fmt.Errorf("the Service default/kubernetes has no endpoint")
}
