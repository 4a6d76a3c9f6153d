package pod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func ipUnique() requirement.Requirement {
	return requirement.Requirement{
		ID:     "pod/ip-unique",
		Title:  "Running pods that are not in a node's network have distinct IPs, throughout the cluster.",
		Level:  requirement.Must,
		Clause: networkModel,
		Why: "Two pods with one address get each other's traffic, now and then. It comes of overlapping node ranges, of an IPAM store " +
			"lost with a reboot, or of two plugins that allocate from one range.",
		Roles: []world.Role{world.SiblingA},
		Check: checkUnique,
		Control: requirement.Control{
			Says:    "a pod bound to a Node object without a kubelet, its status forged to carry another pod's IP",
			Variant: &requirement.Variant{Make: forgePod, ClusterScoped: "a Node object that no kubelet stands behind"},
			Red:     []requirement.Reason{requirement.NotDistinct},
		},
	}
}

func checkUnique(ctx context.Context, env *requirement.Env) error {
	pods, err := env.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
	if err != nil {
		return fmt.Errorf("listing the pods of all namespaces: %w", err)
	}
	nodes, err := env.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	ranges := map[string][]netip.Prefix{}
	for _, n := range nodes.Items {
		for _, text := range n.Spec.PodCIDRs {
			if p, err := netip.ParsePrefix(text); err == nil {
				ranges[n.Name] = append(ranges[n.Name], p)
			}
		}
	}
	holder := map[string]string{}
	judged, outside := 0, 0
	for _, pod := range pods.Items {
		if pod.Spec.HostNetwork || pod.DeletionTimestamp != nil {
			continue
		}
		name := fmt.Sprintf("%s/%s on %s", pod.Namespace, pod.Name, pod.Spec.NodeName)
		for _, ip := range pod.Status.PodIPs {
			judged++
			if !within(ranges[pod.Spec.NodeName], ip.IP) {
				outside++
			}
			if first, taken := holder[ip.IP]; taken {
				return &requirement.Failure{Reason: requirement.NotDistinct, Target: ip.IP, Protocol: "status.podIPs",
					Expected: "one running pod with the address", Observed: "both " + first + " and " + name,
					Again: "kubectl get pods -A -o wide --field-selector status.phase=Running"}
			}
			holder[ip.IP] = name
		}
	}
	env.Note("%d addresses of running pods looked at; %d of them lie outside their node's podCIDRs", judged, outside)
	return nil
}

func within(ranges []netip.Prefix, text string) bool {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	for _, r := range ranges {
		if r.Contains(ip) {
			return true
		}
	}
	return false
}

// forgePod binds a pod to a Node object that no kubelet serves and writes another pod's IP into its
// status. Nothing of it ever runs, and it carries no label that a Service selects.
func forgePod(ctx context.Context, env *requirement.Env) (func(context.Context) error, error) {
	name := env.World.Prefix + "-forged"
	pods := env.Kube.CoreV1().Pods(env.Namespace())
	victim := env.Role(world.SiblingA)
	if len(victim.IPs) == 0 {
		return nil, fmt.Errorf("%s has no IP to forge", victim)
	}
	_, removeNode, err := requirement.Create(ctx, env.Kube.CoreV1().Nodes(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: env.Labels()}, Spec: corev1.NodeSpec{Unschedulable: true}})
	if err != nil {
		return nil, fmt.Errorf("a Node without a kubelet: %w", err)
	}
	pod := env.World.Own(name, "", world.Container("agent"))
	pod.Spec.NodeName = name
	_, removePod, err := requirement.Create(ctx, pods, pod, requirement.AtOnce)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a pod on a Node without a kubelet: %w", err), removeNode(context.WithoutCancel(ctx)))
	}
	undo := func(ctx context.Context) error { return errors.Join(removePod(ctx), removeNode(ctx)) }
	status := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: victim.IPs[0].String(), PodIPs: []corev1.PodIP{{IP: victim.IPs[0].String()}}}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err == nil {
		_, err = pods.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("forging the pod's status: %w", err), undo(context.WithoutCancel(ctx)))
	}
	return undo, nil
}
