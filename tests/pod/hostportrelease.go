package pod

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

const keepsRunning = "keeps-running"

func hostPortRelease() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/host-port-release",
		Long:  true,
		Title: "When a pod with a hostPort is gone, nobody answers there, and the next pod with that hostPort on the node does, over TCP and UDP.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.cni.dev/plugins/current/meta/portmap/",
			Says: "The plugin's rules are removed when the container is deleted, and connections that are still tracked to it are cleared. " +
				"Kubernetes itself promises the port to one pod of a node at a time.",
		},
		Why: "Rules that outlive their pod send the port's traffic to an address that nobody has, or that another pod has by now. A UDP " +
			"client that goes on from one port sticks to the dead pod until tracking forgets it. Five attempts in a row are not answered, each " +
			"beside one to another pod's hostPort that is.",
		PodSecurity: "privileged",
		PerNode:     true,
		Roles:       []world.Role{world.SiblingA},
		Wants:       []world.Role{world.Far, world.Node, world.Outside},
		PerFamily:   true,
		Check:       checkHostPortRelease,
		Control: requirement.Control{
			Says:    "the first pod left running",
			Variant: &requirement.Variant{Fixture: keepsRunning},
			Red:     []requirement.Reason{requirement.Answered},
		},
	}
}

func checkHostPortRelease(ctx context.Context, env *requirement.Env) error {
	node := env.Role(world.SiblingA).Node
	at, err := nodeIP(ctx, env, node)
	if err != nil {
		return err
	}
	clients := append(hostPortClients(env), env.Role(world.SiblingA))
	protocols := []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP}
	pod := hostPortOn(env, node, corev1.ContainerPort{Protocol: protocols[0], HostPort: int32(env.Port(0))})
	ports := &pod.Spec.Containers[0].Ports
	*ports = append(*ports, corev1.ContainerPort{Protocol: protocols[1], HostPort: int32(env.Port(0)), ContainerPort: world.TargetPort})
	// The UDP client has a port of its own, and is then the same one before and after. TCP's has not: a connection from a
	// port that was used seconds ago may still be tracked to a pod of an earlier check.
	talk := func(protocol corev1.Protocol, to *requirement.End) exchange.Talk {
		t := exchange.Talk{From: clients[0], To: to, Network: strings.ToLower(string(protocol)), Dial: requirement.At(at, env.Port(0))}
		if protocol == corev1.ProtocolUDP {
			t.Source = fmt.Sprintf(":%d", env.Port(1))
		}
		return t
	}
	first, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	// Another pod goes on publishing another port: who is silent then could have been heard.
	stays := hostPortOn(env, node, besidePort(env, protocols[0]))
	stays.Spec.Containers[0].Ports = []corev1.ContainerPort{besidePort(env, protocols[0]), besidePort(env, protocols[1])}
	beside, err := env.Start(ctx, stays)
	if err != nil {
		return err
	}
	for _, protocol := range protocols {
		if _, err := exchange.Works(ctx, env, talk(protocol, first.Ends[hostPortPod])); err != nil {
			return err
		}
	}
	if !env.Fixture(keepsRunning) {
		if err := first.Remove(ctx); err != nil {
			return err
		}
	}
	for _, protocol := range protocols {
		gone := talk(protocol, first.Ends[hostPortPod])
		gone.Converging, gone.Within = true, silenceWithin
		heard := exchange.Talk{From: clients[0], To: beside.Ends[hostPortPod], Network: gone.Network, Dial: requirement.At(at, env.Port(besideHostPort))}
		if _, err := exchange.Silent(ctx, env, gone, heard, "whose pod is gone"); err != nil {
			return err
		}
	}
	second, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	for _, protocol := range protocols {
		again := talk(protocol, second.Ends[hostPortPod])
		again.Converging = true
		if _, err := exchange.Works(ctx, env, again); err != nil {
			return err
		}
	}
	return nil
}
