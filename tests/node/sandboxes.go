package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/cri"
	"github.com/parley-k8s/parley/framework/requirement"
)

// namesGone is how long a name may outlive its namespace's pod: Docker Engine removes such names together, once a minute.
const namesGone = 75 * time.Second

func sandboxes() requirement.Requirement {
	return requirement.Requirement{
		ID: "node/sandboxes",
		Title: "Each running pod has one ready sandbox and, unless it is hostNetwork, a network namespace of its own; no node " +
			"keeps a sandbox, network namespace or address of a pod that is gone.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking",
			Says: "Every container of a pod shares its network namespace, with its IP address and ports; that namespace is the sandbox that " +
				"the runtime makes for the pod (CRI, RunPodSandbox).",
		},
		Why: "The sandbox holds the pod's IP while containers come and go. Two of them for one pod are two addresses; one that is left " +
			"over keeps its address and its routes, until the node's addresses are used up. So it is judged again at the end, when the run's own " +
			"pods are gone. What others than kubelets made, as crictl, Docker and test tools do, is theirs: a namespace is judged where what CNI " +
			"kept says that a pod had it.",
		Needs:       []requirement.Feature{requirement.NodeAgent},
		PodSecurity: "privileged",
		Roles:       []world.Role{world.Node},
		AtEnd:       true,
		Check:       sandboxesMatch,
		Control: requirement.Control{
			Says:    "a sandbox made through the CRI for no pod, and a network namespace with a name that no pod has",
			Variant: &requirement.Variant{Make: orphans, ClusterScoped: "a sandbox and a network namespace on a node, and what CNI would keep of it, that belong to no pod"},
			// Which of the two is told depends on whether the kubelet has stopped the sandbox before the check lists them.
			Red: []requirement.Reason{requirement.Orphaned, requirement.LeftOver},
		},
		// That it is judged again at the end needs no control of its own: it is the same check. Neither has that a pod has one sandbox: a
		// second one of a pod that runs has its kubelet stop one of the two.
		MoreControls: []requirement.Control{
			{
				Says:    "a network namespace with a name that no pod has",
				Variant: &requirement.Variant{Make: orphanNamespace, ClusterScoped: "a network namespace on a node that belongs to no pod"},
				Red:     []requirement.Reason{requirement.LeftOver},
			},
			{
				Says:    "an address that is kept for a sandbox that there is none of, in a network of its own",
				Variant: &requirement.Variant{Make: orphanAddress, ClusterScoped: "a folder on a node with what the IPAM plugin host-local would keep"},
				Red:     []requirement.Reason{requirement.LeftOver},
			},
		},
	}
}

// findings are what is wrong, each under a name that stays the same while it stays wrong. The names begin with a digit:
// the first of them is told.
type findings map[string]*requirement.Failure

// sandboxesMatch judges what was wrong when it began and is still: pods come and go meanwhile, so that a sandbox may
// be seen a moment before its pod, or after it.
func sandboxesMatch(ctx context.Context, env *requirement.Env) error {
	var lasting findings
	first := true
	return env.UntilAtLeast(ctx, namesGone, func(ctx context.Context) error {
		now, summary, err := auditAll(ctx, env)
		if err != nil {
			return err
		}
		if first {
			lasting, first = now, false
		} else {
			maps.DeleteFunc(lasting, func(name string, _ *requirement.Failure) bool { return now[name] == nil })
		}
		for _, name := range slices.Sorted(maps.Keys(lasting)) {
			return lasting[name]
		}
		for _, line := range summary {
			env.Note("%s", line)
		}
		return nil
	})
}

func auditAll(ctx context.Context, env *requirement.Env) (all findings, summary []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, criAttempt)
	defer cancel()
	var mu sync.Mutex
	all = findings{}
	group, ctx := errgroup.WithContext(ctx)
	for _, end := range asked(env, env.Roles(world.Node)) {
		group.Go(func() error {
			a, err := takeStock(ctx, env, end)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(all, a.wrong)
			summary = append(summary, a.summary())
			return nil
		})
	}
	err = group.Wait()
	slices.Sort(summary)
	return all, summary, err
}

// audit compares the pods of one node with its sandboxes and processes.
type audit struct {
	end       *requirement.End
	pods      map[string]*corev1.Pod // by the UID that the kubelet uses
	ready     map[string][]string    // sandbox IDs by pod UID
	processes []wire.ProcessInfo
	wrong     findings
	paused    int      // pods with a process in the cgroup of their sandbox
	addresses int      // that the IPAM plugin host-local keeps
	others    []string // sandboxes, empty network namespaces and networks that no kubelet is known to have had made
}

func takeStock(ctx context.Context, env *requirement.Env, end *requirement.End) (*audit, error) {
	a := &audit{end: end, pods: map[string]*corev1.Pod{}, ready: map[string][]string{}, wrong: findings{}}
	client, err := cri.Connect(ctx, env, end)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	list, err := client.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing the sandboxes of %s: %w", end.Node, err)
	}
	seen, err := end.Process(ctx, wire.Process{Do: "list"})
	if err != nil || !seen.Ok() {
		return nil, fmt.Errorf("listing the processes of %s: %w %s", end.Node, err, seen.Errno)
	}
	a.processes = seen.Processes
	pods, err := env.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + end.Node})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of %s: %w", end.Node, err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		a.pods[cri.UID(pod)] = pod
	}
	for _, sandbox := range list.Items {
		switch {
		case sandbox.State != runtime.PodSandboxState_SANDBOX_READY:
		case !cri.OfKubelet(sandbox):
			a.others = append(a.others, "sandbox "+sandbox.Id)
		default:
			uid := sandbox.GetMetadata().GetUid()
			a.ready[uid] = append(a.ready[uid], sandbox.Id)
			a.orphan(sandbox)
		}
	}
	identity, err := end.Identity(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the namespaces of %s: %w", end.Node, err)
	}
	owner := map[uint64]string{identity.Namespaces["net"]: "the node"}
	for _, uid := range slices.Sorted(maps.Keys(a.pods)) {
		a.pod(uid, owner)
	}
	if err := a.leftover(ctx); err != nil {
		return nil, err
	}
	return a, a.leaked(ctx, list.Items)
}

func (a *audit) fail(name string, reason requirement.Reason, target, expected, observed string) {
	a.wrong[name] = &requirement.Failure{Reason: reason, From: a.end, Target: target, Protocol: "CRI", Expected: expected, Observed: observed,
		Again: "crictl pods; lsns -t net   (on node " + a.end.Node + ")"}
}

func (a *audit) orphan(sandbox *runtime.PodSandbox) {
	m := sandbox.GetMetadata()
	if a.pods[m.GetUid()] == nil {
		a.fail("1 orphan "+sandbox.Id, requirement.Orphaned, "sandbox "+sandbox.Id, "a pod that it belongs to",
			fmt.Sprintf("none with the UID %s of its metadata (%s/%s)", m.GetUid(), m.GetNamespace(), m.GetName()))
	}
}

// pod judges one running pod; owner has the network namespaces of those before it.
func (a *audit) pod(uid string, owner map[uint64]string) {
	pod := a.pods[uid]
	name := "pod " + pod.Namespace + "/" + pod.Name
	if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
		return
	}
	if n := len(a.ready[uid]); n != 1 {
		a.fail("2 sandboxes "+uid, requirement.NotDistinct, name, "one ready sandbox", fmt.Sprintf("%d", n))
		return
	}
	spaces, paused := map[uint64]bool{}, false
	for _, p := range a.processes {
		if p.Net == 0 || !cri.InCgroupOf(p.Cgroup, uid) {
			continue
		}
		spaces[p.Net] = true
		paused = paused || strings.Contains(p.Cgroup, a.ready[uid][0])
	}
	if paused {
		a.paused++
	}
	if pod.Spec.HostNetwork || len(spaces) == 0 {
		return // its processes may be in a virtual machine
	}
	if len(spaces) > 1 {
		a.fail("3 namespaces "+uid, requirement.NotShared, name, "one network namespace for its processes", fmt.Sprintf("%d", len(spaces)))
		return
	}
	for inode := range spaces {
		if other := owner[inode]; other != "" {
			a.fail("3 namespace "+uid, requirement.NotDistinct, name, "a network namespace of its own", fmt.Sprintf("net:[%d], which %s has too", inode, other))
		}
		owner[inode] = name
	}
}

func (a *audit) summary() string {
	told := fmt.Sprintf("%s: %d pods, %d with a ready sandbox, %d of which have a process of their own in it (pause)",
		a.end.Node, len(a.pods), len(a.ready), a.paused)
	if a.addresses > 0 {
		told += fmt.Sprintf("; host-local keeps %d addresses", a.addresses)
	}
	if len(a.others) > 0 {
		told += "; not judged, as no kubelet is known to have had it made: " + strings.Join(a.others, ", ")
	}
	return told
}
