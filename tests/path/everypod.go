package path

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func everyPod() requirement.Requirement {
	return requirement.Requirement{
		ID:     "path/every-pod-from-every-node",
		Title:  "Every ready pod of the run, at its own IP, is reached by a pod of every node.",
		Level:  requirement.Must,
		Clause: networkModel,
		Why: "A route, a neighbour entry or a rule for each pod is how some networks work, and one that is missing or stale cuts off one pod for one node: " +
			"the pod is ready and its neighbours are well. Reached is who answers, also by a refusal: the port that is dialled is closed. Pods of " +
			"others are left out, since a policy may keep them apart.",
		Roles: []world.Role{world.Everywhere}, Wants: []world.Role{world.Beside},
		PerFamily: true,
		Check:     checkEveryPod,
		Control: requirement.Control{
			Says:  "what goes to that port dropped on the path from the last node to the first",
			Fault: &requirement.Fault{Points: onOnePath(wire.Rule{Proto: "tcp"})},
			Red:   []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func checkEveryPod(ctx context.Context, env *requirement.Env) error {
	routes, err := routesOf(env)
	if err != nil {
		return err
	}
	pods, err := readyPods(ctx, env)
	if err != nil {
		return err
	}
	type knock struct {
		from *requirement.End
		pod  *corev1.Pod
		ip   netip.Addr
	}
	var all []knock
	for _, r := range routes {
		for i := range pods {
			if ip, ok := podIP(&pods[i], env.Family); ok && pods[i].Spec.NodeName == r.to.Node {
				all = append(all, knock{r.from, &pods[i], ip})
			}
		}
	}
	var gone atomic.Int32
	if err := sideBySide(ctx, all, func(ctx context.Context, k knock) error {
		err := env.Until(ctx, func(ctx context.Context) error {
			at := requirement.At(k.ip, env.Port(0))
			question := wire.Connect{Network: "tcp", Address: at, Knock: true, Timeout: int(env.Attempt.Milliseconds())}
			got, err := k.from.Connect(ctx, question)
			if err != nil {
				return fmt.Errorf("asking %s to dial %s: %w", k.from, at, err)
			}
			seen := got.Seen[0]
			if seen.Ok() || seen.Class == wire.Refused {
				return nil
			}
			if still, err := isStill(ctx, env, k.pod); err != nil || !still {
				gone.Add(1)
				return err
			}
			return &requirement.Failure{Reason: requirement.ReasonOf(seen.Errno), From: k.from, Target: at, Protocol: "tcp",
				Expected: fmt.Sprintf("the pod %s/%s on %s to answer, if only by a refusal", k.pod.Namespace, k.pod.Name, k.pod.Spec.NodeName), Observed: seen.Errno.String()}
		})
		return err
	}); err != nil {
		return err
	}
	env.Note("%s: %d pods, each reached from the nodes that a path leads from: %d in all, %d that were gone meanwhile", env.Family, len(pods), len(all), gone.Load())
	return nil
}

// readyPods are the run's pods that are ready and have a network of their own.
func readyPods(ctx context.Context, env *requirement.Env) (ready []corev1.Pod, err error) {
	for _, namespace := range []string{env.Namespace(), env.World.Elsewhere(), env.PrivilegedNamespace()} {
		list, err := env.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("listing the pods of %s: %w", namespace, err)
		}
		for _, pod := range list.Items {
			if judged(&pod) {
				ready = append(ready, pod)
			}
		}
	}
	return ready, nil
}

func judged(pod *corev1.Pod) bool {
	return !pod.Spec.HostNetwork && pod.DeletionTimestamp == nil && requirement.Ready(pod)
}

// isStill says whether the pod is there, and as it was.
func isStill(ctx context.Context, env *requirement.Env, pod *corev1.Pod) (bool, error) {
	now, err := env.Kube.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil {
		return false, requirement.IgnoreNotFound(err)
	}
	return now.UID == pod.UID && judged(now), nil
}

func podIP(pod *corev1.Pod, family corev1.IPFamily) (netip.Addr, bool) {
	for _, one := range pod.Status.PodIPs {
		if ip, err := netip.ParseAddr(one.IP); err == nil && ip.Is4() == (family == corev1.IPv4Protocol) {
			return ip, true
		}
	}
	return netip.Addr{}, false
}
