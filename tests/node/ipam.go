package node

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/cni"
)

// atOnce is how many files of a node are read side by side.
const atOnce = 8

// mostNamed is how many addresses are named in a sentence.
const mostNamed = 5

// leaked looks at the addresses that the IPAM plugin host-local keeps on the node, where that is used: each is of a sandbox that the
// runtime knows, or is never given to a pod again.
func (a *audit) leaked(ctx context.Context, sandboxes []*runtime.PodSandbox) error {
	known := map[string]bool{}
	for _, s := range sandboxes {
		known[s.Id] = true
	}
	for _, of := range cni.HostLocalFolders {
		networks, err := a.list(ctx, path.Join(nodeRoot, of))
		if err != nil {
			return err
		}
		for _, network := range networks {
			folder := path.Join(of, network)
			kept, lost, err := a.keptIn(ctx, folder, known)
			if err != nil {
				return err
			}
			if len(lost) == kept && kept > 0 { // a network of no pod's, as of podman
				a.others = append(a.others, fmt.Sprintf("%d addresses in %s", kept, folder))
				continue
			}
			a.addresses += kept
			for _, ip := range lost { // each by itself: what is being set up is another one at the next look
				a.fail("5 address "+path.Join(folder, ip), requirement.LeftOver, path.Join(folder, ip), "a sandbox that the address is kept for",
					fmt.Sprintf("none of its ID; so it is with %d of %d addresses: %s", len(lost), kept, strings.Join(lost[:min(len(lost), mostNamed)], ", ")))
			}
		}
	}
	return nil
}

// list are the names in a folder of the node; none where there is no such folder.
func (a *audit) list(ctx context.Context, folder string) ([]string, error) {
	seen, err := a.end.File(ctx, wire.File{Do: "list", Path: folder})
	if err != nil {
		return nil, fmt.Errorf("listing %s on %s: %w", folder, a.end.Node, err)
	}
	return seen.Names, nil
}

// keptIn counts the addresses that are kept for a network, and names those whose sandbox is not known.
func (a *audit) keptIn(ctx context.Context, folder string, known map[string]bool) (kept int, lost []string, err error) {
	names, err := a.list(ctx, path.Join(nodeRoot, folder))
	if err != nil {
		return 0, nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { _, ok := cni.HostLocalAddress(name); return !ok })
	holders := make([]string, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, name := range names {
		group.Go(func() error {
			read, err := a.end.File(ctx, wire.File{Do: "read", Path: path.Join(nodeRoot, folder, name)})
			if err == nil && read.Ok() { // else it was given back meanwhile
				holders[i] = cni.HostLocalHolder(read.Data)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, nil, fmt.Errorf("reading the addresses in %s on %s: %w", folder, a.end.Node, err)
	}
	for i, holder := range holders {
		if holder == "" {
			continue
		}
		if kept++; !known[holder] {
			lost = append(lost, names[i])
		}
	}
	return kept, lost, nil
}
