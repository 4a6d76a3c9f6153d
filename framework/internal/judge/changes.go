package judge

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/framework/addresses"
	"github.com/parley-k8s/parley/framework/internal/nodehealth"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// lookWithin bounds a look at the cluster's nodes and pods.
const lookWithin = 20 * time.Second

// clusterSeen are the nodes and pods of a moment.
type clusterSeen struct {
	at    time.Time
	nodes map[string]*corev1.Node // by name
	pods  map[string]*corev1.Pod  // by namespace/name: the system's and the run's own
	// leases are when each node's Lease was renewed last, by the node's own clock, and renewed how often it is due; both are empty where
	// the Leases can't be read.
	leases map[string]time.Time
	due    map[string]time.Duration
	// shared are the addresses of several holders, whatever pods they are.
	shared []addresses.Shared
	err    error // of looking
}

// lookAtCluster reads what is compared with a later look.
func (r *round) lookAtCluster() clusterSeen {
	ctx, cancel := context.WithTimeout(r.ctx, lookWithin)
	defer cancel()
	env := r.stage.Env(requirement.Requirement{}, r.stage.Families()[0])
	nodes, err := env.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return clusterSeen{err: fmt.Errorf("listing the nodes: %w", err)}
	}
	pods, err := env.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return clusterSeen{err: fmt.Errorf("listing the pods of all namespaces: %w", err)}
	}
	seen := seenOf(env.World.Labels[requirement.RunLabel], nodes.Items, pods.Items)
	seen.at = time.Now()
	if leases, err := env.Kube.CoordinationV1().Leases(corev1.NamespaceNodeLease).List(ctx, metav1.ListOptions{}); err == nil {
		seen.take(leases.Items)
	}
	return seen
}

// take keeps when the nodes' Leases were renewed.
func (c *clusterSeen) take(leases []coordinationv1.Lease) {
	c.leases, c.due = map[string]time.Time{}, map[string]time.Duration{}
	for _, l := range leases {
		if l.Spec.RenewTime != nil && l.Spec.LeaseDurationSeconds != nil {
			c.leases[l.Name], c.due[l.Name] = l.Spec.RenewTime.Time, nodehealth.RenewedEvery(*l.Spec.LeaseDurationSeconds)
		}
	}
}

// seenOf sorts what was listed. run is the run's ID.
func seenOf(run string, nodes []corev1.Node, pods []corev1.Pod) clusterSeen {
	seen := clusterSeen{nodes: map[string]*corev1.Node{}, pods: map[string]*corev1.Pod{}}
	live := slices.DeleteFunc(slices.Clone(nodes), func(n corev1.Node) bool { return n.Labels[requirement.RunLabel] != "" }) // forged ones
	for i := range live {
		seen.nodes[live[i].Name] = &live[i]
	}
	for i := range pods {
		if pod := &pods[i]; isSystem(pod) || run != "" && pod.Labels[requirement.RunLabel] == run {
			seen.pods[pod.Namespace+"/"+pod.Name] = pod
		}
	}
	seen.shared = addresses.Of(pods, live).Shared()
	return seen
}

// isSystem says whether the cluster rests on the pod: it is one of kube-system, or has one of Kubernetes' own priorities.
func isSystem(pod *corev1.Pod) bool {
	return pod.Namespace == metav1.NamespaceSystem || strings.HasPrefix(pod.Spec.PriorityClassName, "system-")
}

// noteChanges keeps what changed between two looks, and shows it.
func (r *round) noteChanges(before, after clusterSeen) {
	if r.ctx.Err() != nil {
		return // the second look is of a run that was cut short
	}
	changes := changesBetween(before, after)
	for _, c := range changes {
		r.options.Log.Say("changed during the run: %s %s", c.Of, c.What)
	}
	r.record.Change(func(of *reports.Cluster) { of.Changes = append(of.Changes, changes...) })
	r.noteSharing(after)
}

// changesBetween are what is another way in the second look, nodes first.
func changesBetween(before, after clusterSeen) (all []reports.Change) {
	if err := cmp.Or(before.err, after.err); err != nil {
		return []reports.Change{{Of: "the cluster", What: "was not looked at for changes: " + err.Error()}}
	}
	add := func(of, what string) {
		if what != "" {
			all = append(all, reports.Change{Of: of, What: what})
		}
	}
	for _, name := range union(before.nodes, after.nodes) {
		add("node "+name, nodeChange(before.at, before.nodes[name], after.nodes[name]))
		if is := after.nodes[name]; is != nil && readyCondition(is).Status == corev1.ConditionTrue {
			add("node "+name, leaseChange(name, before, after))
		}
	}
	for _, name := range union(before.pods, after.pods) {
		was, is := before.pods[name], after.pods[name]
		add("pod "+name+" on "+cmp.Or(was, is).Spec.NodeName, podChange(was, is))
	}
	for _, s := range after.shared {
		if s.Passing() {
			continue
		}
		// What begins with the address is the sentence's subject.
		what := strings.TrimPrefix(s.String(), s.IP.String()+" ")
		if !slices.ContainsFunc(before.shared, func(b addresses.Shared) bool { return b.IP == s.IP }) {
			what += ", and was one's alone at the beginning"
		}
		add(s.IP.String(), what)
	}
	return all
}

func union[V any](a, b map[string]V) []string {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return slices.Sorted(maps.Keys(both))
}

// nodeChange says how a node changed; "" where it did not.
func nodeChange(begun time.Time, was, is *corev1.Node) string {
	switch {
	case was == nil:
		return "appeared"
	case is == nil:
		return "vanished"
	case was.UID != is.UID:
		return "was removed and appeared again"
	}
	var told []string
	if a, b := was.Status.NodeInfo.BootID, is.Status.NodeInfo.BootID; a != b {
		told = append(told, "was started anew")
	}
	ready := readyCondition(is)
	switch {
	case ready.Status != corev1.ConditionTrue && readyCondition(was).Status == corev1.ConditionTrue:
		told = append(told, fmt.Sprintf("is not Ready since %s (%s: %s)", clock(ready.LastTransitionTime.Time), ready.Reason, ready.Message))
	case ready.Status == corev1.ConditionTrue && readyCondition(was).Status != corev1.ConditionTrue:
		told = append(told, fmt.Sprintf("became Ready at %s", clock(ready.LastTransitionTime.Time)))
	case ready.LastTransitionTime.After(begun) && !ready.LastTransitionTime.Time.Equal(readyCondition(was).LastTransitionTime.Time):
		told = append(told, fmt.Sprintf("was not Ready until %s", clock(ready.LastTransitionTime.Time)))
	}
	if a, b := internalIPs(was), internalIPs(is); a != b {
		told = append(told, fmt.Sprintf("had the InternalIP %s and has %s", a, b))
	}
	if was.Spec.Unschedulable != is.Spec.Unschedulable {
		told = append(told, map[bool]string{true: "was cordoned", false: "was uncordoned"}[is.Spec.Unschedulable])
	}
	return strings.Join(told, "; ")
}

// leaseChange says that a node which is still called Ready has ceased to renew its Lease, as of a kubelet that hangs; "" where it goes on.
// A Lease is compared with itself alone: the nodes' clocks may differ.
func leaseChange(node string, before, after clusterSeen) string {
	was, is, due := before.leases[node], after.leases[node], after.due[node]
	if was.IsZero() || is.IsZero() || due == 0 {
		return ""
	}
	behind := after.at.Sub(before.at) - is.Sub(was)
	// The first look may have come right after a renewal, and the second right before one.
	if behind <= 2*due {
		return ""
	}
	return fmt.Sprintf("has not renewed its Lease since %s, though one is due every %s: its kubelet or its way to the API server hangs", clock(is), due.Round(time.Second))
}

func readyCondition(node *corev1.Node) corev1.NodeCondition {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c
		}
	}
	return corev1.NodeCondition{}
}

func internalIPs(node *corev1.Node) string {
	var all []string
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			all = append(all, a.Address)
		}
	}
	return cmp.Or(strings.Join(all, ", "), "none")
}

// podChange says how a pod changed; "" where it did not. A pod of the run's own that was not there at first is a check's.
func podChange(was, is *corev1.Pod) string {
	system := isSystem(cmp.Or(was, is))
	switch {
	case was == nil && !system, was != nil && was.DeletionTimestamp != nil:
		return ""
	case was == nil:
		return "appeared"
	case is == nil:
		return "is gone"
	case was.UID != is.UID:
		return "was replaced by another of its name"
	}
	var told []string
	for _, now := range slices.Concat(is.Status.InitContainerStatuses, is.Status.ContainerStatuses) {
		if n := now.RestartCount - restarts(was, now.Name); n > 0 {
			told = append(told, fmt.Sprintf("has container %s restarted %s%s", now.Name, times(int(n)), lastEnd(now)))
		}
	}
	if a, b := podIPs(was), podIPs(is); a != b && a != "" {
		told = append(told, fmt.Sprintf("had the address %s and has %s", a, cmp.Or(b, "none")))
	}
	return strings.Join(told, "; ")
}

func restarts(pod *corev1.Pod, container string) int32 {
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if c.Name == container {
			return c.RestartCount
		}
	}
	return 0
}

// lastEnd says how a container ended last.
func lastEnd(c corev1.ContainerStatus) string {
	ended := cmp.Or(c.LastTerminationState.Terminated, c.State.Terminated)
	if ended == nil {
		return ""
	}
	return fmt.Sprintf(" (%s, exit code %d, at %s)", ended.Reason, ended.ExitCode, clock(ended.FinishedAt.Time))
}

func podIPs(pod *corev1.Pod) string {
	var all []string
	for _, ip := range pod.Status.PodIPs {
		all = append(all, ip.IP)
	}
	return strings.Join(all, ", ")
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// clock is a time of the day as reports and events have it.
func clock(t time.Time) string { return t.UTC().Format("15:04:05") }
