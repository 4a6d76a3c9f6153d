package nodeimage

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/parley-k8s/parley/framework/internal/cluster"
)

// inTools calls a program of a root file system, with what programs expect besides files. It runs in mount and process
// namespaces of its own, which take the mounts away again. $1 is the root, $2 a folder that the program sees at /in. The root is
// mounted over itself, since a program that changes its root in turn needs one that is a mount.
const inTools = `mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1/in"
root=$1
shift 2
exec chroot "$root" "$@"`

// containersStorage fills a store that CRI-O and skopeo read with the components' images, by the very skopeo that the nodes
// have, and returns the archive of the layer with it.
func (b *builder) containersStorage(ctx context.Context, p runtimeParts, s *step) (string, error) {
	for _, dir := range []string{"proc", "dev", "in", "run", "tmp", "var/tmp", "root", "etc/containers", cluster.StoreAt} {
		if err := os.MkdirAll(filepath.Join(p.tools, dir), 0o755); err != nil {
			return "", fmt.Errorf("making folders for the image store: %w", err)
		}
	}
	in, err := b.folder("in")
	if err != nil {
		return "", err
	}
	if err := os.Rename(p.archive, filepath.Join(in, "components.tar")); err != nil {
		return "", fmt.Errorf("moving the components' images: %w", err)
	}
	for _, tag := range slices.SortedFunc(maps.Keys(p.images), func(x, y name.Tag) int { return strings.Compare(x.String(), y.String()) }) {
		s.detail("storing " + tag.String())
		args := append([]string{"-ec", inTools, "store", p.tools, in}, storeImage(tag)...)
		cmd := exec.CommandContext(ctx, "sh", args...)
		cmd.Env = []string{searchPath, "HOME=/root"}
		if _, err := command(ctx, cmd, true, nil); err != nil {
			return "", fmt.Errorf("storing the image %s: %w", tag, err)
		}
	}
	file := filepath.Join(b.dir, "node-store.tar")
	_, err = command(ctx, exec.CommandContext(ctx, "tar", "--create", "--file="+file, "--numeric-owner", "--xattrs", "--xattrs-include=*", "--sort=name",
		"--exclude=backingFsBlockDev", "--directory="+p.tools, strings.TrimPrefix(cluster.StoreAt, "/")), false, nil)
	if err != nil {
		return "", fmt.Errorf("packing the image store: %w", err)
	}
	return file, nil
}

// storeImage is the command that copies one image of the archive to the store. Nothing signs what was read from a node image.
func storeImage(tag name.Tag) []string {
	return []string{"/usr/bin/skopeo", "--insecure-policy", "copy", "--quiet", "docker-archive:/in/components.tar:" + tag.String(),
		"containers-storage:[overlay@" + cluster.StoreAt + "+/run/store]" + tag.String()}
}
