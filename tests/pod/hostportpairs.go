package pod

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// swappedIPs has each of the two pods of TCP answer at the address where the other should.
const swappedIPs = "the pods of TCP at each other's address"

func hostPortCoexist() requirement.Requirement {
	return requirement.Requirement{
		ID:   "pod/host-port-coexist",
		Long: true,
		Title: "Three pods of one node share a hostPort by hostIP and protocol (127.0.0.1 TCP, InternalIP TCP, InternalIP UDP), and each " +
			"answers at its own.",
		Level:  requirement.Must,
		Clause: hostPortsCoexist,
		Why: "DNS servers publish one port over both protocols. A scheduler, plugin or proxy that looks at the number alone refuses the " +
			"second pod or sends its traffic to the first.",
		PodSecurity: "privileged",
		PerNode:     true,
		Roles:       []world.Role{world.SiblingA},
		Wants:       []world.Role{world.Far, world.Node},
		Check:       checkHostPortCoexist,
		Control: requirement.Control{
			Says:    "the same pods without hostPorts",
			Variant: &requirement.Variant{Fixture: noHostPort},
			Red:     []requirement.Reason{requirement.Refused, requirement.NoAnswer, requirement.Unreachable},
		},
		// Without hostPorts the pod at the loopback is not answered, the first of the three. What a node
		// sends to its own loopback does not come by the hook where the others' packets are dropped.
		MoreControls: []requirement.Control{
			{Says: "what comes to the port over TCP dropped on its node",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.OnNodeOf(world.SiblingA, fault.DropOwnPorts("prerouting", "tcp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}, Wants: []world.Role{world.Far}},
			{Says: "what comes to the port over UDP dropped on its node",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.OnNodeOf(world.SiblingA, fault.DropOwnPorts("prerouting", "udp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}, Wants: []world.Role{world.Far}},
			{Says: swappedIPs, Variant: &requirement.Variant{Fixture: swappedIPs}, Red: []requirement.Reason{requirement.WrongPeer}},
		},
	}
}

func checkHostPortCoexist(ctx context.Context, env *requirement.Env) error {
	local := env.Role(world.SiblingA)
	at, err := nodeIP(ctx, env, local.Node)
	if err != nil {
		return err
	}
	node := env.OnNode(world.Node, local.Node)
	client := node
	if far := env.Roles(world.Far); len(far) > 0 {
		client = far[0]
	}
	if client == nil {
		client = local
	}
	places := []struct {
		ip, protocol string
		from, server *requirement.End
	}{
		{ip: env.Loopback().String(), protocol: "TCP", from: node},
		{ip: at.String(), protocol: "TCP", from: client},
		{ip: at.String(), protocol: "UDP", from: client},
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for i := range places {
		group.Go(func() (err error) {
			p, ip := &places[i], places[i].ip
			if env.Fixture(swappedIPs) && p.protocol == "TCP" {
				ip = places[1-i].ip
			}
			p.server, err = startHostPort(groupCtx, env, local.Node,
				corev1.ContainerPort{Protocol: corev1.Protocol(p.protocol), HostPort: int32(env.Port(0)), HostIP: ip})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, p := range places {
		if p.from == nil {
			env.Note("not judged that %s answers on the node: no agent is admitted there", p.ip)
			continue
		}
		if _, err := exchange.Works(ctx, env, exchange.Talk{From: p.from, To: p.server, Network: strings.ToLower(p.protocol),
			Dial: fmt.Sprintf("%s:%d", bracketed(p.ip), env.Port(0))}); err != nil {
			return err
		}
	}
	return nil
}

func bracketed(ip string) string {
	if strings.Contains(ip, ":") {
		return "[" + ip + "]"
	}
	return ip
}

func hostPortConflict() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/host-port-conflict",
		Long:  true,
		Title: "Two pods with the same hostPort, protocol and hostIP are never put on one node: the second stays unscheduled and says why.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/scheduling/predicates.go#L706",
			Says: "Conformance: a pod whose hostPort and protocol a pod on the node has already is not scheduled there, also where one of " +
				"the two names a hostIP and the other all of them.",
		},
		Why:         "Whichever pod came first would lose its traffic to the other, or the other would run and never be reached.",
		PodSecurity: "privileged",
		PerNode:     true,
		Roles:       []world.Role{world.SiblingA},
		Check:       checkHostPortConflict,
		Control: requirement.Control{
			Says:    "two different ports",
			Variant: &requirement.Variant{Fixture: otherPorts},
			Red:     []requirement.Reason{requirement.NotDistinct},
		},
	}
}

// decided bounds the wait for the scheduler's word on a pod.
const decided = 30 * time.Second

func checkHostPortConflict(ctx context.Context, env *requirement.Env) error {
	node := env.Role(world.SiblingA).Node
	port := corev1.ContainerPort{Protocol: corev1.ProtocolTCP, HostPort: int32(env.Port(0))}
	first, err := startHostPort(ctx, env, node, port)
	if err != nil {
		return err
	}
	at, err := nodeIP(ctx, env, node)
	if err != nil {
		return err
	}
	port.HostIP = at.String() // all of them and one of them conflict, too
	if env.Fixture(otherPorts) {
		port.HostPort = int32(env.Port(1))
	}
	second := hostPortOn(env, node, port)
	pods := env.Kube.CoreV1().Pods(second.Namespace)
	made, err := requirement.Own(ctx, env, pods, second, requirement.AtOnce)
	if err != nil {
		return fmt.Errorf("the second pod: %w", err)
	}
	var word *corev1.PodCondition
	_, err = until.Settled(ctx, until.Policy{Within: decided}, func(ctx context.Context) error {
		pod, err := pods.Get(ctx, made.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the second pod: %w", err)
		}
		for i, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled {
				word = &pod.Status.Conditions[i]
				return nil
			}
		}
		return fmt.Errorf("the scheduler said nothing of %s within %s", made.Name, decided)
	})
	switch {
	case err != nil:
		return err
	case word.Status == corev1.ConditionTrue:
		return &requirement.Failure{Reason: requirement.NotDistinct, To: first, Target: fmt.Sprintf("hostPort %d", port.HostPort), Protocol: "scheduling",
			Expected: "the second pod with that hostPort to stay off " + node, Observed: made.Name + " scheduled there",
			Again: "kubectl get pods -A -o wide --field-selector spec.nodeName=" + node}
	case !strings.Contains(word.Message, "port"):
		return fmt.Errorf("the second pod is kept off %s for another reason: %s", node, word.Message)
	}
	env.Note("the scheduler says: %s", word.Message)
	return nil
}
