package pod

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/addresses"
	"github.com/parley-k8s/parley/framework/requirement"
)

// forgedStatus is the variant of ip-as-seen-inside: a pod whose status is not what it has.
const forgedStatus = "forged-status"

func ipAsSeenInside() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/ip-as-seen-inside",
		Title: "Each of a pod's status.podIPs is among the global addresses of the interfaces inside the pod.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/#the-kubernetes-network-model",
			Says: "Every pod has an IP of its own and pods talk without address translation: the IP by which others know a pod is the " +
				"one that it has.",
		},
		Why: "Clustered software announces the address that it finds on its interface, and others look it up in the API: where the two " +
			"differ, members never find each other. Stale sandboxes and plugins that report another address than they set do that.",
		Roles: []world.Role{world.SiblingA, world.Everywhere},
		Wants: []world.Role{world.Node},
		Check: checkSeenInside,
		Control: requirement.Control{
			Says:    "a pod with a forged address in its status",
			Variant: &requirement.Variant{Fixture: forgedStatus},
			Red:     []requirement.Reason{requirement.NotShared},
		},
	}
}

func checkSeenInside(ctx context.Context, env *requirement.Env) error {
	if env.Fixture(forgedStatus) {
		return checkForged(ctx, env)
	}
	ends := distinct(env.Roles(world.SiblingA), env.Roles(world.Everywhere))
	for _, end := range ends {
		pod, err := env.Kube.CoreV1().Pods(end.Namespace).Get(ctx, end.Pod, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the pod of %s: %w", end, err)
		}
		if err := seenInside(ctx, end, pod); err != nil {
			return err
		}
	}
	others, err := seenFromNodes(ctx, env)
	if err != nil {
		return err
	}
	env.Note("%d pods looked into by their own agents, %d by their nodes'", len(ends), others)
	return nil
}

// seenFromNodes judges the pods of the whole cluster, from the agents in the nodes' own namespaces, and says how many. What is
// wrong is looked at again: a pod may get its address between the two looks.
func seenFromNodes(ctx context.Context, env *requirement.Env) (judged int, err error) {
	err = env.Until(ctx, func(ctx context.Context) error {
		pods, err := env.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("listing the pods of all namespaces: %w", err)
		}
		inside, err := addresses.LookInside(ctx, env.Roles(world.Node), pods.Items)
		if err != nil {
			return err
		}
		judged = len(inside)
		for _, seen := range inside {
			if ip := seen.Missing(); ip != "" && seen.Pod.DeletionTimestamp == nil {
				return &requirement.Failure{Reason: requirement.NotShared, Target: ip, Protocol: "status.podIPs",
					Expected: fmt.Sprintf("%s on an interface inside %s", ip, addresses.Holder{Pod: seen.Pod}), Observed: fmt.Sprintf("%v there", seen.Inside),
					Again: "kubectl get pod -n " + seen.Pod.Namespace + " " + seen.Pod.Name + " -o wide; nsenter -n ip address   (on its node, in a process of it)"}
			}
		}
		return nil
	})
	return judged, err
}

func seenInside(ctx context.Context, end *requirement.End, pod *corev1.Pod) error {
	id, err := end.Identity(ctx)
	if err != nil {
		return fmt.Errorf("reading the interfaces of %s: %w", end, err)
	}
	var inside []netip.Addr
	for _, i := range id.Interfaces {
		for _, text := range i.Addrs {
			if p, err := netip.ParsePrefix(text); err == nil && p.Addr().IsGlobalUnicast() {
				inside = append(inside, p.Addr())
			}
		}
	}
	if len(pod.Status.PodIPs) == 0 {
		return fmt.Errorf("the status of %s has no podIPs", end)
	}
	for _, ip := range pod.Status.PodIPs {
		addr, err := netip.ParseAddr(ip.IP)
		if err != nil || !slices.Contains(inside, addr) {
			return &requirement.Failure{Reason: requirement.NotShared, To: end, Target: ip.IP, Protocol: "status.podIPs",
				Expected: ip.IP + " on an interface inside the pod", Observed: fmt.Sprintf("%v there", inside),
				Again: "kubectl get pod -n " + end.Namespace + " " + end.Pod + " -o wide; kubectl debug it and run: ip address"}
		}
	}
	return nil
}

// checkForged judges a pod of its own by the status that the API gave for it after a forgery: the kubelet writes the
// true one again within seconds.
func checkForged(ctx context.Context, env *requirement.Env) error {
	started, err := env.Start(ctx, env.NewPod(env.Role(world.SiblingA).Node, world.Container("agent")))
	if err != nil {
		return err
	}
	const nobodys = "192.0.2.66" // TEST-NET-1, RFC 5737
	patch, err := json.Marshal(map[string]any{"status": corev1.PodStatus{PodIP: nobodys, PodIPs: []corev1.PodIP{{IP: nobodys}}}})
	if err != nil {
		return fmt.Errorf("writing a forged status: %w", err)
	}
	pods := env.Kube.CoreV1().Pods(started.Pod.Namespace)
	forged, err := pods.Patch(ctx, started.Pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("forging the status of %s: %w", started.Pod.Name, err)
	}
	return seenInside(ctx, started.Ends["agent"], forged)
}
