package nodeimage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
)

// runtimeParts are what a node image gets with another runtime.
type runtimeParts struct {
	programs string   // folder of the bundle's programs
	names    []string // of those that the bundle has
	tools    string   // root of Debian's programs and their libraries; "" for none
	debs     string   // folder of programs of another Debian release; "" for none
	limits   string   // folder of ocilimits
	node     *nodeFiles
	images   map[name.Tag]v1.Image // that kubeadm deploys
	archive  string                // of these
	store    string                // archive of the layer with the store; "" for none
}

// buildRuntime makes the image and loads it into the engine.
func (b *builder) buildRuntime(ctx context.Context, e *engine.Engine, img runtimeImage) error {
	var p runtimeParts
	var base v1.Image
	layer := *img.runtime.Layer
	steps := []*step{
		{component: "bundle " + img.bundle.File, run: func(s *step) (err error) {
			p.programs, p.names, err = b.bundlePrograms(ctx, img.bundle, layer.Programs, s)
			return err
		}},
		{component: "ocilimits", run: func(s *step) (err error) {
			p.limits, err = b.ociLimits(ctx, s)
			return err
		}},
	}
	if len(layer.Packages) > 0 {
		steps = append(steps, &step{component: "Debian's programs", run: func(s *step) (err error) {
			p.tools, err = b.tools(ctx, layer, s)
			return err
		}})
	}
	if len(layer.Debs.Packages) > 0 {
		steps = append(steps, &step{component: "programs of Debian " + layer.Debs.Suite, run: func(s *step) (err error) {
			p.debs, err = b.debPrograms(ctx, layer.Debs, s)
			return err
		}})
	}
	steps = append(steps,
		&step{component: "image below", run: func(s *step) (err error) {
			base, p.node, err = b.readBase(ctx, e, img.base, s)
			return err
		}},
		&step{component: "component images", run: func(s *step) (err error) {
			if p.images, err = p.node.images(); err != nil {
				return err
			}
			p.archive = filepath.Join(b.dir, "components.tar")
			if err := tarball.MultiWriteToFile(p.archive, p.images); err != nil {
				return fmt.Errorf("writing the components' images: %w", err)
			}
			if layer.Store == cluster.ContainersStorage {
				p.store, err = b.containersStorage(ctx, p, s)
			}
			return err
		}},
		&step{component: "node image with " + img.runtime.Product, run: func(s *step) error {
			made, err := b.withRuntime(base, img.runtime, p)
			if err != nil {
				return err
			}
			return b.load(ctx, e, img.ref(), made, s)
		}},
	)
	return b.inOrder(ctx, steps)
}

// bundlePrograms takes the programs out of a bundle, and returns their folder and the names of those that it has.
func (b *builder) bundlePrograms(ctx context.Context, of Bundle, programs []cluster.Program, s *step) (dir string, names []string, err error) {
	file, err := b.bundleFile(ctx, of, s)
	if err != nil {
		return "", nil, err
	}
	if dir, err = b.folder("programs"); err != nil {
		return "", nil, err
	}
	names, err = unpackBundle(file, programs, dir)
	return dir, names, err
}

// ociLimits builds the program that stands before runc.
func (b *builder) ociLimits(ctx context.Context, s *step) (string, error) {
	source, err := runtimeRecipe.ReadFile("ocilimits/main.go")
	if err != nil {
		return "", fmt.Errorf("reading ocilimits' source: %w", err)
	}
	return b.singleFile(ctx, "ocilimits", entryName("ocilimits", b.goVersion, string(source)), source, s)
}

// readBase reads the image that the runtime goes on out of the engine's store.
func (b *builder) readBase(ctx context.Context, e *engine.Engine, ref string, s *step) (v1.Image, *nodeFiles, error) {
	img, err := b.exportImage(ctx, e, ref, s)
	if err != nil {
		return nil, nil, err
	}
	s.detail("reading it")
	dir, err := b.folder("below")
	if err != nil {
		return nil, nil, err
	}
	node, err := readNode(img, dir)
	return img, node, err
}

// exportImage reads an image out of the engine's store.
func (b *builder) exportImage(ctx context.Context, e *engine.Engine, ref string, s *step) (v1.Image, error) {
	s.detail("saving " + ref)
	file := filepath.Join(b.dir, "below.tar")
	save := e.Command(ctx, "save", "-o", file, ref)
	save.Env = append(save.Env, "TMPDIR="+b.dir)
	if _, err := command(ctx, save, false, nil); err != nil {
		return nil, err
	}
	img, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the image that %s saved: %w", e.Name, err)
	}
	return img, nil
}

// tools is a root file system with the layer's programs of Debian's base release and what these need, and no more: with
// that the images' store is filled, and of it the node gets what it lacks.
func (b *builder) tools(ctx context.Context, l cluster.RuntimeLayer, s *step) (string, error) {
	const packed = "tools.tar"
	key := entryName("tools", append([]string{suite, b.goVersion, fmt.Sprint(l.Tools)}, l.Packages...)...)
	dir, err := b.entry(key, s, func() (string, error) {
		root, err := b.unpackDebs(ctx, "tools-debian", debSet{suite: suite, packages: l.Packages, dependencies: true}, s)
		if err != nil {
			return "", err
		}
		out, err := b.folder("tools-packed")
		if err != nil {
			return "", err
		}
		if err := packTools(root, l.Tools, filepath.Join(out, packed)); err != nil {
			return "", err
		}
		if err := os.RemoveAll(root); err != nil {
			return "", fmt.Errorf("removing a Debian root: %w", err)
		}
		return out, nil
	})
	if err != nil {
		return "", err
	}
	root, err := b.folder("tools")
	if err != nil {
		return "", err
	}
	_, err = command(ctx, exec.CommandContext(ctx, "tar", "--extract", "--file="+filepath.Join(dir, packed), "--directory="+root), false, nil)
	return root, err
}

// packTools writes the programs of a root and what they need to an archive.
func packTools(root string, programs []string, file string) error {
	all, err := closure(os.DirFS(root), programs)
	if err != nil {
		return fmt.Errorf("collecting Debian's programs: %w", err)
	}
	l, err := newLayer(file)
	if err != nil {
		return err
	}
	for _, name := range all {
		if err := l.entry(root, name); err != nil {
			_ = l.file.Close()
			return fmt.Errorf("collecting Debian's programs: %w", err)
		}
	}
	for name, target := range mergedFolders {
		if err := l.link(name, target); err != nil {
			_ = l.file.Close()
			return fmt.Errorf("collecting Debian's programs: %w", err)
		}
	}
	_, err = l.done()
	return err
}

// withRuntime puts the layers on the image below.
func (b *builder) withRuntime(base v1.Image, rt cluster.Runtime, p runtimeParts) (v1.Image, error) {
	top, err := b.write("runtime", func(l *layer) error { return l.runtime(rt, p) })
	if err != nil {
		return nil, err
	}
	layers := []v1.Layer{top}
	if p.store != "" {
		store, err := layerOf(p.store)
		if err != nil {
			return nil, err
		}
		layers = append(layers, store)
	}
	file, err := base.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of the image below: %w", err)
	}
	config := *file.Config.DeepCopy()
	if config.Labels == nil {
		config.Labels = map[string]string{}
	}
	config.Labels[RuntimeLabel] = rt.Name
	return image(config, append(slices.Clone(p.node.layers), layers...)...)
}
