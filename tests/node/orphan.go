package node

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/cri"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/tests/internal/cni"
)

// housekeeping bounds the wait for a kubelet to stop a sandbox of no pod. It looks every two seconds.
const housekeeping = 15 * time.Second

// orphanFolder is the folder of host-local's that orphanAddress makes a network in, which is gone with the node's next boot at the latest.
const orphanFolder = "/run/cni-ipam-state"

var errStillThere = errors.New("the kubelet has not stopped it yet")

// orphans makes what belongs to no pod, on the last node: a network namespace, which stays until it is removed, and a sandbox,
// which the kubelet soon stops.
func orphans(ctx context.Context, env *requirement.Env) (func(context.Context) error, error) {
	forget, err := orphanNamespace(ctx, env)
	if err != nil {
		return nil, err
	}
	undo, err := orphanSandbox(ctx, env)
	if err != nil {
		return nil, lift(ctx, forget, err)
	}
	return func(ctx context.Context) error { return errors.Join(undo(ctx), forget(ctx)) }, nil
}

// orphanNamespace names a network namespace where the node's runtime does, and keeps beside it what CNI would of a pod's that is gone.
func orphanNamespace(ctx context.Context, env *requirement.Env) (func(context.Context) error, error) {
	nodes := env.Roles(world.Node)
	end := nodes[len(nodes)-1]
	for _, folder := range namespaceFolders {
		seen, err := end.File(ctx, wire.File{Do: "stat", Path: path.Join(nodeRoot, folder)})
		if err != nil {
			return nil, fmt.Errorf("looking for the named network namespaces of %s: %w", end.Node, err)
		}
		if !seen.Ok() {
			continue
		}
		target := path.Join(folder, "parley-"+rand.String(12))
		if err := end.Mount(ctx, wire.Mount{Do: "name", Target: target}); err != nil {
			return nil, err
		}
		forget := func(ctx context.Context) error { return end.Mount(ctx, wire.Mount{Do: "forget", Target: target}) }
		remove, err := keepAttachment(ctx, env, end, target)
		if err != nil {
			return nil, lift(ctx, forget, err)
		}
		return func(ctx context.Context) error { return errors.Join(remove(ctx), forget(ctx)) }, nil
	}
	return nil, fmt.Errorf("%s has no folder of named network namespaces: neither %s", end.Node, strings.Join(namespaceFolders, " nor "))
}

// keepAttachment writes what CNI would keep of an interface in the network namespace, attached for a pod that is gone.
func keepAttachment(ctx context.Context, env *requirement.Env, end *requirement.End, target string) (remove func(context.Context) error, err error) {
	name := path.Base(target)
	data, err := cni.EncodeAttachment(cni.Attachment{NetNS: target, Pod: env.Namespace() + "/" + name, UID: name})
	if err != nil {
		return nil, err
	}
	at := path.Join(nodeRoot, cni.ResultFolder, "parley-"+name+"-eth0")
	if err := fileOp(ctx, end, wire.File{Do: "write", Path: at, Data: data, Mode: 0o600}); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return fileOp(ctx, end, wire.File{Do: "remove", Path: at}) }, nil
}

// fileOp does something to a file of the end, and gives an errno as an error.
func fileOp(ctx context.Context, end *requirement.End, f wire.File) error {
	seen, err := end.File(ctx, f)
	if err := probe.Either(seen.Errno, err); err != nil {
		return fmt.Errorf("%s %s on %s: %w", f.Do, f.Path, end.Node, err)
	}
	return nil
}

// orphanAddress keeps two addresses as host-local does, in a network of their own that no plugin uses: one for a sandbox that the runtime
// of the last node has, which makes the network one of pods, and one for a sandbox that nobody has.
func orphanAddress(ctx context.Context, env *requirement.Env) (func(context.Context) error, error) {
	nodes := env.Roles(world.Node)
	end := nodes[len(nodes)-1]
	client, err := cri.Connect(ctx, env, end)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	list, err := client.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{Filter: &runtime.PodSandboxFilter{
		State: &runtime.PodSandboxStateValue{State: runtime.PodSandboxState_SANDBOX_READY}}})
	if err == nil && len(list.Items) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, fmt.Errorf("looking for a sandbox on %s: %w", end.Node, err)
	}
	var made []string
	undo := func(ctx context.Context) error {
		var problems []error
		for _, at := range slices.Backward(made) {
			problems = append(problems, fileOp(ctx, end, wire.File{Do: "remove", Path: at}))
		}
		return errors.Join(problems...)
	}
	folder := path.Join(nodeRoot, orphanFolder)
	network := path.Join(folder, "parley-"+rand.String(12))
	for _, f := range []wire.File{
		{Do: "mkdir", Path: folder, Mode: 0o755},
		{Do: "mkdir", Path: network, Mode: 0o755},
		{Do: "write", Path: path.Join(network, "192.0.2.1"), Data: []byte(list.Items[0].Id + "\r\neth0"), Mode: 0o600},
		{Do: "write", Path: path.Join(network, "192.0.2.2"), Data: []byte(path.Base(network) + "\r\neth0"), Mode: 0o600},
	} {
		seen, err := end.File(ctx, f)
		if f.Path == folder && seen.Class == wire.Exists {
			continue
		}
		if err := probe.Either(seen.Errno, err); err != nil {
			return nil, lift(ctx, undo, fmt.Errorf("%s %s on %s: %w", f.Do, f.Path, end.Node, err))
		}
		made = append(made, f.Path)
	}
	return undo, nil
}

// orphanSandbox makes a sandbox for no pod on the last node. Kubelets stop such sandboxes within seconds, so the first
// one only tells when: the second, made right after, is there for the check to see.
func orphanSandbox(ctx context.Context, env *requirement.Env) (func(context.Context) error, error) {
	nodes := env.Roles(world.Node)
	client, err := cri.Connect(ctx, env, nodes[len(nodes)-1])
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, housekeeping+criAttempt)
	defer cancel()
	parent := "/"
	if config, err := client.RuntimeConfig(bounded, &runtime.RuntimeConfigRequest{}); err == nil &&
		config.GetLinux().GetCgroupDriver() == runtime.CgroupDriver_SYSTEMD {
		parent = "system.slice" // every systemd has it
	}
	var made []string
	undo := func(ctx context.Context) error {
		var problems []error
		for _, id := range made {
			_, stopped := client.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: id})
			_, removed := client.RemovePodSandbox(ctx, &runtime.RemovePodSandboxRequest{PodSandboxId: id})
			if problem := errors.Join(stopped, removed); problem != nil {
				problems = append(problems, fmt.Errorf("removing the sandbox %s on %s: %w", id, client.Node, problem))
			}
		}
		return errors.Join(append(problems, client.Close())...)
	}
	for range 2 {
		id, err := runOrphan(bounded, env, client, parent)
		if err != nil {
			return nil, lift(ctx, undo, err)
		}
		made = append(made, id)
		if len(made) == 2 {
			break
		}
		_, err = until.Settled(bounded, until.Policy{Within: housekeeping}, func(ctx context.Context) error {
			status, err := client.PodSandboxStatus(ctx, &runtime.PodSandboxStatusRequest{PodSandboxId: id})
			if err == nil && status.GetStatus().GetState() == runtime.PodSandboxState_SANDBOX_READY {
				return errStillThere
			}
			return nil // stopped, or even removed
		})
		if errors.Is(err, errStillThere) {
			break // a kubelet that leaves it alone: the first will do
		}
		if err != nil {
			return nil, lift(ctx, undo, err)
		}
	}
	return undo, nil
}

// runOrphan makes a sandbox as a kubelet does, in the node's own network, so that no address is taken.
func runOrphan(ctx context.Context, env *requirement.Env, client *cri.Client, parent string) (string, error) {
	name, labels := "orphan-"+rand.String(12), env.Labels()
	labels[cri.PodNameLabel], labels[cri.PodNamespaceLabel], labels[cri.PodUIDLabel] = name, env.Namespace(), name
	got, err := client.RunPodSandbox(ctx, &runtime.RunPodSandboxRequest{Config: &runtime.PodSandboxConfig{
		Metadata: &runtime.PodSandboxMetadata{Name: name, Namespace: env.Namespace(), Uid: name},
		Labels:   labels,
		Linux: &runtime.LinuxPodSandboxConfig{CgroupParent: parent, SecurityContext: &runtime.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtime.NamespaceOption{Network: runtime.NamespaceMode_NODE}}},
	}})
	if err != nil {
		return "", fmt.Errorf("making a sandbox for no pod on %s: %w", client.Node, err)
	}
	return got.PodSandboxId, nil
}
