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

// File is a file to write on nodes.
type File struct {
	At   string // its path on the node
	Mode os.FileMode
	// From is the file on this machine that has the content; where it is "" Content is that.
	From    string
	Content []byte
}

// filesTimeout bounds bringing files to every node: some 100 MB each.
const filesTimeout = 3 * time.Minute

// Put writes files on every node of a cluster that was made here. Each is replaced whole.
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
				if err := c.writeFile(ctx, node.String(), f); err != nil {
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

// writeScript writes its standard input to the file $1, which has the mode $2 before it has its name.
const writeScript = `cat > "$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"`

func (c *Cluster) writeFile(ctx context.Context, node string, f File) error {
	cmd := c.spec.Engine.Command(ctx, "exec", "-i", node, "sh", "-c", writeScript, "sh", f.At, fmt.Sprintf("%o", f.Mode.Perm()))
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
