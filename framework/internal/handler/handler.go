package handler

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	"github.com/parley-k8s/parley/manifests"
)

// Default is the handler that containerd runs pods with that ask for none: every node image has it.
const Default = "runc"

// Fact is the name of the fact of a cluster in a report that says which handler its pods ran under.
const Fact = "OCI handler"

// Handler is an OCI handler on the nodes of a cluster that is made here.
type Handler struct {
	// Name is containerd's for it and that of its RuntimeClass.
	Name string
	// Program is what the node image must have already, by a name that is looked for as a shell does; "" for nothing.
	Program string
	// Architectures are those that it exists for, as Go calls them; empty is every one.
	Architectures []string

	containerd string   // the patch of containerd's configuration, in manifests/handlers; "" for none
	kubelet    []string // patches of KubeletConfiguration, by the same folder
	cgroupfs   bool     // it needs the cgroupfs driver
	texts      []text
	built      *built
}

// text is a file of manifests/handlers that nodes get.
type text struct {
	from, at string
	mode     os.FileMode
}

// built are programs that are built from a Go module, and where nodes get them, by their names in the build.
type built struct {
	programs func() (nodeimage.Programs, error)
	at       map[string]string
}

// All are the handlers, the default one first.
func All() []Handler {
	return []Handler{
		{Name: Default},
		{Name: "crun", Program: "crun", containerd: "crun.toml",
			texts: []text{{"crun-any-version.sh", "/usr/local/bin/crun-any-version", 0o755}}},
		{Name: "runsc", Architectures: []string{"amd64", "arm64"}, containerd: "runsc.toml", kubelet: []string{"kubelet-cgroupfs.yaml"}, cgroupfs: true,
			texts: []text{{"runsc-shim.toml", "/etc/containerd/runsc.toml", 0o644}},
			// containerd finds a shim by its name, beside itself.
			built: &built{gvisor, map[string]string{"runsc": "/usr/local/bin/runsc", shimName: "/usr/local/bin/" + shimName}}},
	}
}

// Named are the handlers of those names, in the order of All.
func Named(names []string) ([]Handler, error) {
	var found []Handler
	for _, h := range All() {
		if slices.Contains(names, h.Name) {
			found = append(found, h)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(found, func(h Handler) bool { return h.Name == name }) {
			return nil, fmt.Errorf("%q is no OCI handler of clusters that are made here", name)
		}
	}
	return found, nil
}

// Built says whether the handler's programs are built where the cache does not have them.
func (h Handler) Built() bool { return h.built != nil }

// containerdConfigs are the versions of containerd's configuration, and what its part about runtimes is called in each.
var containerdConfigs = []struct {
	Version int
	Plugin  string
}{{2, "io.containerd.grpc.v1.cri"}, {3, "io.containerd.cri.v1.runtime"}}

// Patches are the patches of containerd's and of the kubelets' configuration for a cluster with all of the handlers; none for
// the default one alone.
func Patches(all []Handler) (containerd, kubelet []string, err error) {
	systemd := !slices.ContainsFunc(all, func(h Handler) bool { return h.cgroupfs })
	for _, h := range all {
		for _, name := range h.kubelet {
			patch, err := manifests.Handlers.ReadFile("handlers/" + name)
			if err != nil {
				return nil, nil, fmt.Errorf("reading the kubelets' patch for %s: %w", h.Name, err)
			}
			kubelet = append(kubelet, string(patch))
		}
		if h.containerd == "" {
			continue
		}
		t, err := template.ParseFS(manifests.Handlers, "handlers/"+h.containerd)
		if err != nil {
			return nil, nil, fmt.Errorf("reading containerd's patch for %s: %w", h.Name, err)
		}
		for _, c := range containerdConfigs {
			var b strings.Builder
			if err := t.Execute(&b, map[string]any{"Version": c.Version, "Plugin": c.Plugin, "SystemdCgroup": systemd}); err != nil {
				return nil, nil, fmt.Errorf("filling in containerd's patch for %s: %w", h.Name, err)
			}
			containerd = append(containerd, b.String())
		}
	}
	return containerd, kubelet, nil
}

// Files are what nodes get for the handler. Programs are built where the cache does not have them, of which progress is told.
func (h Handler) Files(ctx context.Context, progress func(nodeimage.Step)) ([]cluster.File, error) {
	var all []cluster.File
	for _, t := range h.texts {
		content, err := manifests.Handlers.ReadFile("handlers/" + t.from)
		if err != nil {
			return nil, fmt.Errorf("reading a file for %s: %w", h.Name, err)
		}
		all = append(all, cluster.File{At: t.at, Mode: t.mode, Content: content})
	}
	if h.built == nil {
		return all, nil
	}
	programs, err := h.built.programs()
	if err != nil {
		return nil, err
	}
	dir, err := programs.Build(ctx, progress)
	if err != nil {
		return nil, err
	}
	for name, at := range h.built.at {
		all = append(all, cluster.File{At: at, Mode: 0o755, From: filepath.Join(dir, name)})
	}
	return all, nil
}
