package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// File is a file that nodes get.
type File struct {
	At   string // its path on the node
	Mode os.FileMode
	// From is the file on this machine that has the content; where it is "" Content is that.
	From    string
	Content []byte
}

// filesTimeout bounds bringing files to every node: some 100 MB each.
const filesTimeout = 3 * time.Minute

// Put brings files to every node. Each appears whole, in place of an older one.
func (c *Cluster) Put(ctx context.Context, files ...File) error {
	if !c.Owned() {
		return errors.New("files can be put on the nodes of clusters that Parley made only")
	}
	nodes, err := c.kind.ListInternalNodes(c.name)
	if err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, filesTimeout, fmt.Errorf("not done within %s", filesTimeout))
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for _, node := range nodes {
		group.Go(func() error {
			for _, f := range files {
				if err := c.put(ctx, node.String(), f); err != nil {
					if ctx.Err() != nil {
						err = context.Cause(ctx)
					}
					return fmt.Errorf("putting %s on node %s: %w", f.At, node, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// putScript writes its input to the file that it is given, which has the mode that it is given before it has its name.
const putScript = `cat > "$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"`

func (c *Cluster) put(ctx context.Context, node string, f File) error {
	cmd := c.spec.Engine.Command(ctx, "exec", "-i", node, "sh", "-c", putScript, "sh", f.At, fmt.Sprintf("%o", f.Mode.Perm()))
	var content io.Reader = bytes.NewReader(f.Content)
	if f.From != "" {
		file, err := os.Open(f.From)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // only read
		content = file
	}
	cmd.Stdin = content
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
