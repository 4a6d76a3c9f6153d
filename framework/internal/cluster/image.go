package cluster

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
)

// loadTimeout bounds loading an image into every node.
const loadTimeout = 3 * time.Minute

// LoadImage loads the image archive at tarPath, which must name the image ref, into every node at once.
func (c *Cluster) LoadImage(ctx context.Context, ref, tarPath string) error {
	if !c.Owned() {
		return fmt.Errorf("images can be loaded into clusters that Parley made only: name one that the cluster can pull with -agent-image")
	}
	nodes, err := c.kind.ListInternalNodes(c.name)
	if err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	runtime, err := RuntimeOf(c.spec.Runtime)
	if err != nil {
		return err
	}
	argv := runtime.load(ref)
	ctx, cancel := context.WithTimeoutCause(ctx, loadTimeout, fmt.Errorf("not done within %s", loadTimeout))
	defer cancel()
	var group errgroup.Group
	for _, node := range nodes {
		group.Go(func() error {
			archive, err := os.Open(tarPath)
			if err != nil {
				return err
			}
			defer func() { _ = archive.Close() }() // only read
			if argv == nil {
				err = nodeutils.LoadImageArchive(node, archive)
			} else {
				err = node.Command(argv[0], argv[1:]...).SetStdin(archive).Run()
			}
			if err != nil {
				return fmt.Errorf("loading %s into node %s: %w", ref, node, err)
			}
			return nil
		})
	}
	// kind's commands know no context; when it ends they are left to the deletion of their nodes.
	done := make(chan error, 1)
	go func() { done <- group.Wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("loading %s into the nodes: %w", ref, context.Cause(ctx))
	}
}
