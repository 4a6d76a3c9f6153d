package nodeimage

import (
	"context"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// searchPath is where a component image's own program and its tools are found.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// sandboxImage is the pause image's name in kind's containerd configuration; kubeadm knows another.
const sandboxImage = "registry.k8s.io/pause:3.10"

// unprivileged is the user that pause runs as, as upstream's image has it.
const unprivileged = "65535:65535"

// componentImages builds the images that kubeadm deploys, each one program on an empty base, under the names that
// this very kubeadm lists, and writes them to one archive.
func (b *builder) componentImages(ctx context.Context, p parts) (archive string, err error) {
	version, err := b.versions.kubernetes()
	if err != nil {
		return "", err
	}
	list, err := command(ctx, exec.CommandContext(ctx, filepath.Join(p.bin["kubernetes"], "kubeadm"),
		"config", "images", "list", "--kubernetes-version", version), false, nil)
	if err != nil {
		return "", fmt.Errorf("asking kubeadm for its images: %w", err)
	}
	images := map[name.Tag]v1.Image{}
	for _, ref := range append(strings.Fields(list), sandboxImage) {
		tag, err := name.NewTag(ref)
		if err != nil {
			return "", fmt.Errorf("reading the image name %q: %w", ref, err)
		}
		img, err := b.componentImage(path.Base(tag.RepositoryStr()), p)
		if err != nil {
			return "", fmt.Errorf("making the image %s: %w", ref, err)
		}
		images[tag] = img
	}
	archive = filepath.Join(b.dir, "components.tar")
	if err := tarball.MultiWriteToFile(archive, images); err != nil {
		return "", fmt.Errorf("writing the components' images: %w", err)
	}
	return archive, nil
}

// componentImage is one component's image by the last part of its name.
func (b *builder) componentImage(what string, p parts) (v1.Image, error) {
	module, at := "kubernetes", "usr/local/bin/"
	switch what {
	case "etcd":
		module = "etcd"
	case "coredns", "pause":
		module, at = what, ""
	}
	l, err := newLayer(filepath.Join(b.dir, "component-"+what+".tar"))
	if err != nil {
		return nil, err
	}
	err = l.copy(at+what, 0o755, filepath.Join(p.bin[module], what))
	var under []v1.Layer
	if err == nil && what == "kube-proxy" {
		var iptables v1.Layer
		iptables, err = layerOf(filepath.Join(p.base, proxyName))
		under = append(under, iptables)
		if err == nil {
			err = l.iptables()
		}
	}
	if err != nil {
		_ = l.file.Close()
		return nil, err
	}
	top, err := l.done()
	if err != nil {
		return nil, err
	}
	config := v1.Config{Env: []string{searchPath}, Entrypoint: []string{"/" + at + what}}
	if what == "pause" {
		config.User = unprivileged
	}
	return image(config, append(under, top)...)
}

// iptables adds the names under which the chooser between the two kinds is called.
func (l *layer) iptables() error {
	script, err := inputs.ReadFile("files/iptables-select")
	if err != nil {
		return err
	}
	if err := l.text("usr/sbin/iptables-select", 0o755, script); err != nil {
		return err
	}
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		if err := l.link("usr/sbin/"+name, "iptables-select"); err != nil {
			return err
		}
	}
	return nil
}

// image puts layers together with a configuration, for this machine's architecture.
func image(config v1.Config, layers ...v1.Layer) (v1.Image, error) {
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Config = runtime.GOARCH, "linux", config
	return mutate.ConfigFile(img, file)
}
