package node

import (
	"context"
	"fmt"
	"path"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/cri"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/cni"
)

// namespaceFolders are where runtimes keep network namespaces by name: as ip-netns(8) does, and Docker Engine's own.
var namespaceFolders = []string{"/run/netns", "/run/docker/netns"}

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
