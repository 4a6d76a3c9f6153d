package nodeimage

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/template"

	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/manifests"
)

// containerdParts are the files of kind's containerd that another runtime takes the place of; its configuration stays, since
// kind's entrypoint edits it.
var containerdParts = []string{
	"usr/local/bin/containerd", "usr/local/bin/containerd-shim-runc-v2", "usr/local/bin/ctr",
	"etc/systemd/system/containerd.service", "etc/systemd/system/multi-user.target.wants/containerd.service",
}

// Where the programs of a runtime's layer lie on a node besides those that the runtime's declaration places.
const (
	limitsAt = "kind/bin/ocilimits"
	runcAt   = "kind/bin/runc" // what ocilimits becomes
)

// runtime fills the layer that puts the runtime in containerd's place.
func (l *layer) runtime(rt cluster.Runtime, p runtimeParts) error {
	for _, name := range append(slices.Clone(containerdParts), p.node.root) {
		if name == p.node.root || p.node.names[name] {
			if err := l.text(path.Join(path.Dir(name), whiteout+path.Base(name)), 0o644, nil); err != nil {
				return err
			}
		}
	}
	placed, err := l.programs(*rt.Layer, p)
	if err != nil {
		return err
	}
	values, err := valuesOf(p, placed)
	if err != nil {
		return err
	}
	for _, f := range rt.Layer.Files {
		text, err := rendered(f.From, values)
		if err != nil {
			return err
		}
		if err := l.text(f.At, 0o644, text); err != nil {
			return err
		}
	}
	for _, unit := range rt.Layer.Units {
		if err := l.link("etc/systemd/system/multi-user.target.wants/"+unit, "/etc/systemd/system/"+unit); err != nil {
			return err
		}
	}
	if rt.Layer.Store == cluster.ImageArchive {
		return l.copy(strings.TrimPrefix(cluster.ArchiveAt, "/"), 0o644, p.archive)
	}
	return nil
}

// programs adds the runtime's programs and returns where on the node each is, by its name. A tool of Debian's that the
// bundle has as well is the bundle's, and what the node has already stays the node's.
func (l *layer) programs(rl cluster.RuntimeLayer, p runtimeParts) (map[string]string, error) {
	placed := map[string]string{}
	var tools []string
	if p.tools != "" {
		for _, t := range rl.Tools {
			if !slices.Contains(p.names, path.Base(t)) {
				tools = append(tools, t)
				placed[path.Base(t)] = t
			}
		}
	}
	has := func(library string) bool { return p.node.hasLibrary(library) }
	add := func(from, at string) error {
		if err := runsOn(from, runtime.GOARCH, has); err != nil {
			return err
		}
		placed[path.Base(at)] = at
		return l.copy(at, 0o755, from)
	}
	for _, program := range rl.Programs {
		if slices.Contains(p.names, program.Name) {
			if err := add(filepath.Join(p.programs, program.Name), path.Join(program.At, program.Name)); err != nil {
				return nil, err
			}
		}
	}
	if p.debs != "" {
		for _, at := range rl.Debs.Programs {
			if err := add(filepath.Join(p.debs, path.Base(at)), at); err != nil {
				return nil, err
			}
		}
	}
	if err := l.addMissing(p, tools); err != nil {
		return nil, err
	}
	if err := l.copy(limitsAt, 0o755, filepath.Join(p.limits, "ocilimits")); err != nil {
		return nil, err
	}
	runc := placed["runc"]
	if runc == "" {
		runc = p.node.firstPresent("usr/local/sbin/runc", "usr/local/bin/runc", "usr/sbin/runc", "usr/bin/runc")
	}
	if runc == "" {
		return nil, fmt.Errorf("neither the bundle nor the node image has runc")
	}
	return placed, l.link(runcAt, "/"+runc)
}

// addMissing adds tools and what they need, as far as the node has it not.
func (l *layer) addMissing(p runtimeParts, tools []string) error {
	if len(tools) == 0 {
		return nil
	}
	all, err := closure(os.DirFS(p.tools), tools)
	if err != nil {
		return err
	}
	for _, name := range all {
		if !p.node.names[name] {
			if err := l.entry(p.tools, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// layerValues are what the files of a runtime's layer are filled in with.
type layerValues struct {
	Pause  string   // the image that holds a pod's namespaces
	Images []string // all that the node image brings, sorted
	Conmon string   // the path of CRI-O's monitor; "" where there is none
}

func valuesOf(p runtimeParts, placed map[string]string) (layerValues, error) {
	var v layerValues
	for tag := range p.images {
		v.Images = append(v.Images, tag.String())
	}
	slices.Sort(v.Images)
	for _, ref := range v.Images {
		if repository, _, _ := strings.Cut(path.Base(ref), ":"); repository == "pause" {
			v.Pause = ref
			break
		}
	}
	if v.Pause == "" {
		return v, fmt.Errorf("the node image brings no pause image among %s", strings.Join(v.Images, ", "))
	}
	if at := placed["conmon"]; at != "" {
		v.Conmon = "/" + at
	}
	return v, nil
}

// rendered is a file of manifests/runtimes, filled in.
func rendered(file string, values layerValues) ([]byte, error) {
	text, err := fs.ReadFile(manifests.Runtimes, "runtimes/"+file)
	if err != nil {
		return nil, err
	}
	t, err := template.New(file).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, values); err != nil {
		return nil, fmt.Errorf("filling in %s: %w", file, err)
	}
	return out.Bytes(), nil
}
