package node

import (
	"context"
	"fmt"
	"maps"
	"path"
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
	"github.com/parley-k8s/parley/tests/internal/cni"
)

// staticPodUID is the annotation of a static pod's mirror that has the UID its kubelet gave it.
const staticPodUID = "kubernetes.io/config.hash"

// namesGone is how long a name may outlive its namespace's pod: Docker Engine removes such names together, once a minute.
const namesGone = 75 * time.Second

// namespaceFolders are where runtimes keep network namespaces by name: as ip-netns(8) does, and Docker Engine's own.
var namespaceFolders = []string{"/run/netns", "/run/docker/netns"}

func sandboxes() requirement.Requirement {
	return requirement.Requirement{
		ID: "node/sandboxes",
		Title: "Each running pod has one ready sandbox and, unless it is hostNetwork, a network namespace that is its alone; no node " +
			"keeps a sandbox or network namespace of a pod that is gone.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking",
			Says: "Every container of a pod shares its network namespace, with its IP address and ports; that namespace is the sandbox that " +
				"the runtime makes for the pod (CRI, RunPodSandbox).",
		},
		Why: "The sandbox holds the pod's IP while containers come and go. Two of them for one pod are two addresses; one that is left " +
			"over keeps its address and its routes, until the node's addresses are used up. What others than kubelets made, as crictl, " +
			"Docker and test tools do, is theirs: a namespace is judged where what CNI kept says that a pod had it.",
		Needs:       []requirement.Feature{requirement.NodeAgent},
		PodSecurity: "privileged",
		Roles:       []world.Role{world.Node},
		Check:       sandboxesMatch,
		Control: requirement.Control{
			Says:    "a sandbox made through the CRI for no pod, and a network namespace with a name that no pod has",
			Variant: &requirement.Variant{Make: orphans, ClusterScoped: "a sandbox and a network namespace on a node, and what CNI would keep of it, that belong to no pod"},
			// Which of the two is told depends on whether the kubelet has stopped the sandbox before the check lists them.
			Red: []requirement.Reason{requirement.Orphaned, requirement.LeftOver},
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
	for _, end := range env.Roles(world.Node) {
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
	others    []string // ready sandboxes and empty network namespaces that no kubelet is known to have had made
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
		uid := string(pod.UID)
		if static := pod.Annotations[staticPodUID]; static != "" {
			uid = static
		}
		a.pods[uid] = pod
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
	return a, a.leftover(ctx)
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
		if p.Net == 0 || !inCgroupOf(p.Cgroup, uid) {
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

// inCgroupOf says whether a cgroup's path is a pod's: the systemd driver writes the UID's hyphens as underscores.
func inCgroupOf(cgroup, uid string) bool {
	return strings.Contains(cgroup, "pod"+uid) || strings.Contains(cgroup, "pod"+strings.ReplaceAll(uid, "-", "_"))
}

// leftover looks for network namespaces that have a name in one of the folders and no process, and were a pod's that is gone by what CNI
// kept of it. A runtime whose sandboxes have no process of their own (CRI-O) has empty ones of pods that are there.
func (a *audit) leftover(ctx context.Context) error {
	lived := map[uint64]bool{}
	for _, p := range a.processes {
		lived[p.Net] = true
	}
	var empty []string
	for _, folder := range namespaceFolders {
		names, seen, err := a.filesIn(ctx, folder, "stat")
		if err != nil {
			return err
		}
		for i, name := range names {
			if seen[i].Ok() && !lived[seen[i].Inode] {
				empty = append(empty, path.Join(folder, name))
			}
		}
	}
	if len(empty) == 0 {
		return nil
	}
	attached, err := a.attachments(ctx)
	if err != nil {
		return err
	}
	for _, at := range empty {
		was, known := attached[at]
		switch {
		case !known || was.Pod == "":
			a.others = append(a.others, "network namespace "+at)
		case !a.runs(was):
			a.fail("4 empty "+at, requirement.LeftOver, at, "processes of a pod in it",
				fmt.Sprintf("a network namespace without a process, which CNI attached for the pod %s (UID %s) that is gone", was.Pod, was.UID))
		}
	}
	return nil
}

// runs says whether the pod that something was attached for is on the node. Runtimes of long ago tell plugins no UID.
func (a *audit) runs(of cni.Attachment) bool {
	if of.UID != "" && a.pods[of.UID] != nil {
		return true
	}
	for _, pod := range a.pods {
		if of.UID == "" && pod.Namespace+"/"+pod.Name == of.Pod {
			return true
		}
	}
	return false
}

// attachments are what CNI kept of the node's network namespaces, by their paths.
func (a *audit) attachments(ctx context.Context) (map[string]cni.Attachment, error) {
	_, files, err := a.filesIn(ctx, cni.ResultFolder, "read")
	if err != nil {
		return nil, err
	}
	all := map[string]cni.Attachment{}
	for _, file := range files {
		// Files come and go meanwhile, and other programs may keep theirs there.
		if kept, err := cni.ParseAttachment(file.Data); err == nil && kept.NetNS != "" && (kept.Pod != "" || all[cri.Direct(kept.NetNS)].Pod == "") {
			all[cri.Direct(kept.NetNS)] = kept
		}
	}
	return all, nil
}

// filesIn does one thing to each file of a folder of the node; of a folder that is not there nothing comes.
func (a *audit) filesIn(ctx context.Context, folder, do string) (names []string, seen []wire.FileResult, err error) {
	// By the first process's root: a mount that was made after the agent began is not in the agent's own.
	in := path.Join(nodeRoot, folder)
	listed, err := a.end.File(ctx, wire.File{Do: "list", Path: in})
	if err != nil {
		return nil, nil, fmt.Errorf("listing %s on %s: %w", folder, a.end.Node, err)
	}
	seen = make([]wire.FileResult, len(listed.Names))
	group, ctx := errgroup.WithContext(ctx)
	for i, name := range listed.Names {
		group.Go(func() (err error) {
			if seen[i], err = a.end.File(ctx, wire.File{Do: do, Path: path.Join(in, name)}); err != nil {
				return fmt.Errorf("looking at %s in %s on %s: %w", name, folder, a.end.Node, err)
			}
			return nil
		})
	}
	return listed.Names, seen, group.Wait()
}

func (a *audit) summary() string {
	said := fmt.Sprintf("%s: %d pods, %d with a ready sandbox, %d of which have a process of their own in it (pause)",
		a.end.Node, len(a.pods), len(a.ready), a.paused)
	if len(a.others) > 0 {
		said += "; not judged, as no kubelet is known to have had it made: " + strings.Join(a.others, ", ")
	}
	return said
}
