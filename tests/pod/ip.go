package pod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/addresses"
	"github.com/parley-k8s/parley/framework/requirement"
)

func ipUnique() requirement.Requirement {
	return requirement.Requirement{
		ID:     "pod/ip-unique",
		Title:  "Pods that are not in a node's network have distinct IPs, throughout the cluster.",
		Level:  requirement.Must,
		Clause: networkModel,
		Why: "Two pods with one address get each other's traffic, now and then. It comes of overlapping node ranges, of an IPAM store " +
			"lost with a reboot, or of two plugins that allocate from one range. So it is judged again at the end of the run, when pods " +
			"have come and gone.",
		OneNode: "it is about all pods of the cluster at once",
		Roles:   []world.Role{world.SiblingA},
		Wants:   []world.Role{world.Node},
		AtEnd:   true,
		Check:   checkUnique,
		Control: requirement.Control{
			Says:    "a pod bound to a Node object without a kubelet, its status forged to carry another pod's IP",
			Variant: &requirement.Variant{Make: forgePod, ClusterScoped: "a Node object that no kubelet stands behind"},
			Red:     []requirement.Reason{requirement.NotDistinct},
		},
	}
}

// checkUnique judges all pods of the cluster: by what the API says, and where an agent is on their nodes by what is in their network
// namespaces.
func checkUnique(ctx context.Context, env *requirement.Env) error {
	if len(env.SharedAddresses) > 0 {
		return shared("status.podIPs", "while the run went on, "+strings.Join(env.SharedAddresses, "; "))
	}
	pods, err := distinctInAPI(ctx, env)
	if err != nil {
		return err
	}
	agents := env.Roles(world.Node)
	if len(agents) == 0 {
		env.Note("no agent is in the nodes' own namespaces, so no pod's network namespace was looked into")
		return nil
	}
	inside, err := addresses.LookInside(ctx, agents, pods)
	if err != nil {
		return err
	}
	env.Note("%d pods' network namespaces looked into from %d nodes", len(inside), len(agents))
	if ip, owner, other, twice := addresses.Twice(inside); twice {
		return shared(ip.String(), fmt.Sprintf("it in the status of %s, and in the network namespace of %s", addresses.Holder{Pod: owner}, addresses.Holder{Pod: other}))
	}
	return nil
}

// distinctInAPI judges the pods' status and returns them. A pod that is being deleted may have given its address back a moment
// before the API knows: what only such a pod shares is looked at again.
func distinctInAPI(ctx context.Context, env *requirement.Env) (pods []corev1.Pod, err error) {
	var lasting *requirement.Failure
	err = env.Until(ctx, func(ctx context.Context) error {
		list, err := env.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("listing the pods of all namespaces: %w", err)
		}
		nodes, err := env.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("listing the nodes: %w", err)
		}
		pods = list.Items
		var passing error
		for _, s := range addresses.Of(pods, nodes.Items).Shared() {
			switch f := shared(s.IP.String(), s.String()); {
			case !s.Pods(): // node/addresses judges these
			case s.Passing():
				passing = f
			default:
				lasting = f
				return nil
			}
		}
		if passing == nil {
			noteAddresses(env, pods, nodes.Items)
		}
		return passing
	})
	if lasting != nil {
		return nil, lasting
	}
	return pods, err
}

func shared(ip, observed string) *requirement.Failure {
	return &requirement.Failure{Reason: requirement.NotDistinct, Target: ip, Protocol: "status.podIPs",
		Expected: "each address to be of one pod", Observed: observed, Again: "kubectl get pods -A -o wide --sort-by=.status.podIP"}
}

// noteAddresses says how many addresses were looked at, and how many of them are of another range than the node's.
func noteAddresses(env *requirement.Env, pods []corev1.Pod, nodes []corev1.Node) {
	ranges := map[string][]netip.Prefix{}
	for _, n := range nodes {
		for _, text := range n.Spec.PodCIDRs {
			if p, err := netip.ParsePrefix(text); err == nil {
				ranges[n.Name] = append(ranges[n.Name], p)
			}
		}
	}
	judged, outside := 0, 0
	for _, pod := range pods {
		if !addresses.Holds(&pod) {
			continue
		}
		for _, ip := range pod.Status.PodIPs {
			judged++
			if !within(ranges[pod.Spec.NodeName], ip.IP) {
				outside++
			}
		}
	}
	env.Note("%d addresses of pods looked at; %d of them lie outside their node's podCIDRs", judged, outside)
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
