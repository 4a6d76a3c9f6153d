package nodeimage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// storeAt is where a node's containerd keeps its state and finds the image store. Not under /var: kind makes that a
// volume, and the engine copies what the image has there for each node.
const storeAt = "/kind/containerd"

// dropped are the base's entries that kind's Dockerfile deletes: units that are of no use, or do harm, in a container.
var dropped = []string{
	"usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
	"usr/lib/systemd/system/multi-user.target.wants/*",
	"etc/systemd/system/*.wants/*",
	"usr/lib/systemd/system/local-fs.target.wants/*",
	"usr/lib/systemd/system/sockets.target.wants/*udev*",
	"usr/lib/systemd/system/sockets.target.wants/*initctl*",
	"usr/lib/systemd/system/basic.target.wants/*",
}

func isDropped(name string) bool {
	for _, pattern := range dropped {
		if ok, _ := path.Match(pattern, merged(name)); ok {
			return true
		}
	}
	return false
}

// enabled are the units that start with the node; masked never start.
var (
	enabled = []string{"kubelet.service", "containerd.service", "undo-mount-hacks.service"}
	masked  = []string{"systemd-binfmt.service"} // would register things in the one kernel
)

// nodeBinaries says which component's programs go where on a node.
var nodeBinaries = []struct {
	component, at string
	names         []string
}{
	{"kubernetes", "usr/bin", []string{"kubeadm", "kubectl", "kubelet"}},
	{"containerd", "usr/local/bin", []string{"containerd", "containerd-shim-runc-v2", "ctr"}},
	{"cni", "opt/cni/bin", nil}, // all
}

// nodeImage puts the node's image together: the Debian base, the image store, and what makes a kind node of it.
func (b *builder) nodeImage(ctx context.Context, p parts, store string) (v1.Image, error) {
	base, err := b.write("base", func(l *layer) error {
		f, err := os.Open(filepath.Join(p.base, rootfsName))
		if err != nil {
			return err
		}
		defer f.Close()
		return copyArchive(f, l.Writer, isDropped)
	})
	if err != nil {
		return nil, err
	}
	images, err := b.write("store", func(l *layer) error {
		return l.tree(strings.TrimPrefix(storeAt, "/"), store, func(_ string, d fs.DirEntry) int64 {
			if d.IsDir() {
				return 0o755
			}
			return 0o644
		})
	})
	if err != nil {
		return nil, err
	}
	node, err := b.write("node", func(l *layer) error {
		return errors.Join(b.kindLayer(ctx, l, p), l.binaries(p), b.ownLayer(l))
	})
	if err != nil {
		return nil, err
	}
	return image(v1.Config{
		Env:        []string{searchPath, "container=docker"}, // systemd looks for it
		StopSignal: "SIGRTMIN+3",                             // systemd's for an orderly end
		Entrypoint: []string{"/usr/local/bin/entrypoint", "/sbin/init"},
	}, base, images, node)
}

// write makes a layer of the node's image.
func (b *builder) write(what string, fill func(*layer) error) (v1.Layer, error) {
	l, err := newLayer(filepath.Join(b.dir, "node-"+what+".tar"))
	if err != nil {
		return nil, err
	}
	if err := fill(l); err != nil {
		_ = l.file.Close()
		return nil, fmt.Errorf("making the node image's layer %s: %w", what, err)
	}
	return l.done()
}

// kindLayer adds kind's own base files, with containerd told where its store is, and what kind's Dockerfile makes.
func (b *builder) kindLayer(ctx context.Context, l *layer, p parts) error {
	dir, err := b.kindFiles(ctx)
	if err != nil {
		return err
	}
	const containerdConfig = "etc/containerd/config.toml"
	files, err := fs.Glob(os.DirFS(dir), "*")
	if err != nil {
		return err
	}
	for _, top := range files {
		err := filepath.WalkDir(filepath.Join(dir, top), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(dir, p)
			if err != nil || rel == containerdConfig {
				return err
			}
			return l.copy(rel, kindMode(rel), p)
		})
		if err != nil {
			return err
		}
	}
	config, err := os.ReadFile(filepath.Join(dir, containerdConfig))
	if err != nil {
		return err
	}
	containerd, err := componentNamed(b.versions.components(), "containerd")
	if err != nil {
		return err
	}
	if err := l.text(containerdConfig, 0o644, containerdFor(config, containerd.packaged != nil)); err != nil {
		return err
	}
	spec, err := command(ctx, exec.CommandContext(ctx, filepath.Join(p.bin["containerd"], "ctr"), "oci", "spec"), false, nil)
	if err != nil {
		return fmt.Errorf("asking ctr for the base of all containers' specifications: %w", err)
	}
	criBase, err := baseSpec([]byte(spec))
	if err != nil {
		return err
	}
	return l.text("etc/containerd/cri-base.json", 0o644, criBase)
}

// kindMode is a base file's mode, as in kind's Dockerfile: scripts may be run, all else is data.
func kindMode(name string) int64 {
	if dir := path.Dir(filepath.ToSlash(name)); dir == "usr/local/bin" || dir == "kind/bin" {
		return 0o755
	}
	return 0o644
}

// containerdFor is kind's containerd configuration with the root at the store, and the snapshots where overlayfs
// works: on the node's volume. kind's entrypoint edits lines of it by their text, so the text stays as it is.
//
// containerd 2.4 asks the shim of each container for its processor time every second unless told otherwise, for a figure
// that nobody reads here; at 65 pods that took a quarter of two processors. Others ignore the key.
//
// Debian's containerd looks for CNI plugins in Debian's folder; others have a list of folders in that key's place.
func containerdFor(kind []byte, debian bool) []byte {
	text := "root = \"" + storeAt + "\"\n" + strings.TrimSpace(string(kind)) + `

[plugins."io.containerd.snapshotter.v1.overlayfs"]
  root_path = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs"

[plugins."io.containerd.cri.v1.runtime"]
  stats_collect_period = "10m"
`
	if debian {
		text += `
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/cni/bin"
`
	}
	return []byte(text)
}

// baseSpec adds kind's hook to what every container's specification begins with, and leaves the limits to the node.
func baseSpec(spec []byte) ([]byte, error) {
	var s map[string]any
	if err := json.Unmarshal(spec, &s); err != nil {
		return nil, fmt.Errorf("reading the specification that ctr made: %w", err)
	}
	if s == nil {
		return nil, errors.New("reading the specification that ctr made: it is null")
	}
	hooks, _ := s["hooks"].(map[string]any)
	if hooks == nil {
		hooks = map[string]any{}
	}
	create, _ := hooks["createContainer"].([]any)
	hooks["createContainer"] = append(create, map[string]any{"path": "/kind/bin/mount-product-files.sh"})
	s["hooks"] = hooks
	if process, ok := s["process"].(map[string]any); ok {
		delete(process, "rlimits")
	}
	return json.Marshal(s)
}

// binaries adds the node's programs.
func (l *layer) binaries(p parts) error {
	for _, n := range nodeBinaries {
		dir, names := p.bin[n.component], n.names
		if names == nil {
			list, err := os.ReadDir(dir)
			if err != nil {
				return err
			}
			for _, e := range list {
				if e.Name() != sumsName {
					names = append(names, e.Name())
				}
			}
		}
		for _, name := range names {
			if err := l.copy(path.Join(n.at, name), 0o755, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownLayer adds Parley's own files, the units that start, and what kind reads about the image.
func (b *builder) ownLayer(l *layer) error {
	for _, f := range []struct {
		from, at string
		mode     int64
	}{
		{"oom-score", "kind/bin/oom-score", 0o755},
		{"containerd-oom-score.conf", "etc/systemd/system/containerd.service.d/oom-score.conf", 0o644},
		{"journald.conf", "etc/systemd/journald.conf.d/parley.conf", 0o644},
		{"default-storage.yaml", "kind/manifests/default-storage.yaml", 0o644},
	} {
		text, err := inputs.ReadFile("files/" + f.from)
		if err != nil {
			return err
		}
		if err := l.text(f.at, f.mode, text); err != nil {
			return err
		}
	}
	for _, unit := range enabled {
		if err := l.link("etc/systemd/system/multi-user.target.wants/"+unit, "/etc/systemd/system/"+unit); err != nil {
			return err
		}
	}
	for _, unit := range masked {
		if err := l.link("etc/systemd/system/"+unit, "/dev/null"); err != nil {
			return err
		}
	}
	if err := l.folder("etc/kubernetes", 0o755); err != nil {
		return err
	}
	if err := l.folder("etc/kubernetes/manifests", 0o755); err != nil {
		return err
	}
	version, err := b.versions.kubernetes()
	if err != nil {
		return err
	}
	return l.text("kind/version", 0o644, []byte(version))
}
