package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Programs are the main packages and the test binaries of one Go module that are wanted beside a node image's own:
// built in the same way (static, the sums enforced, the version stamped as Kubernetes' programs have it) and kept
// in the same cache.
type Programs struct {
	Name string // of the cache entry, and in the progress
	// Mod and Sum are the go.mod and go.sum of a module made for this; its tool lines are the packages.
	Mod, Sum []byte
	Required string            // the module in it whose version counts
	Tests    map[string]string // of the tool lines, packages whose test binary is wanted, and the binary's name
	Files    []string          // of the required module, by path in it; they lie beside the programs by their last names
	// Sources are Go files of the module itself, by path in it: of main packages that a tool line names.
	Sources map[string]string
	// Stamp says which variables the linker sets, with {version} in the values; nil are those of Kubernetes' programs.
	Stamp []string
}

// Version is the version of the required module.
func (p Programs) Version() (string, error) {
	m, err := parseModule(p.Name, p.Required, p.Mod, p.Sum)
	return m.version, err
}

// Build builds the programs, or finds them in the cache, and returns the folder that has them.
func (p Programs) Build(ctx context.Context, progress func(Step)) (dir string, err error) {
	m, err := parseModule(p.Name, p.Required, p.Mod, p.Sum)
	if err != nil {
		return "", err
	}
	title := p.Name + " " + m.version
	dir, err = buildSingle(ctx, title, progress, func(ctx context.Context, b *builder, s *step) (string, error) {
		return b.goPrograms(ctx, p, m, s)
	})
	if err != nil {
		return "", fmt.Errorf("building %s: %w", title, err)
	}
	return dir, nil
}

// goPrograms builds the programs, or takes them from the cache, and returns the folder that has them.
func (b *builder) goPrograms(ctx context.Context, p Programs, m module, s *step) (string, error) {
	stamped := component{stamp: p.Stamp}
	if p.Stamp == nil {
		stamped = components[0] // Kubernetes' stamp also tells e2e.test its version
	}
	flags := []string{"-trimpath", "-buildvcs=false", "-ldflags=" + stamped.ldflags(m.version)}
	key := entryName(p.Name, append(p.madeFrom(b.goVersion, m), flags...)...)
	return b.entry(key, s, func() (string, error) {
		src, err := b.folder("src-" + p.Name)
		if err != nil {
			return "", err
		}
		if err := m.write(src); err != nil {
			return "", err
		}
		if err := p.writeSources(src); err != nil {
			return "", err
		}
		mains := slices.DeleteFunc(slices.Clone(m.tools), func(tool string) bool { return p.Tests[tool] != "" })
		out, err := b.compile(ctx, p.Name, src, goBuild{flags: flags, mains: mains}, s)
		if err != nil {
			return "", err
		}
		for _, tool := range m.tools {
			name := p.Tests[tool]
			if name == "" {
				continue
			}
			args := append([]string{"test", "-c", "-v", "-o", filepath.Join(out, name)}, flags...)
			if err := b.goCommand(ctx, src, append(args, tool), s); err != nil {
				return "", err
			}
		}
		return out, b.moduleFiles(ctx, src, p, out)
	})
}

// madeFrom is all that the programs are made from, besides the flags.
func (p Programs) madeFrom(goVersion string, m module) []string {
	from := []string{goVersion, runtime.GOARCH, string(m.mod), string(m.sum), fmt.Sprint(p.Tests, p.Files)}
	for _, name := range slices.Sorted(maps.Keys(p.Sources)) {
		from = append(from, name, p.Sources[name])
	}
	return from
}

// writeSources lays the module's own Go files beside its go.mod.
func (p Programs) writeSources(dir string) error {
	for name, text := range p.Sources {
		file := filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if err == nil {
			err = os.WriteFile(file, []byte(text), 0o644)
		}
		if err != nil {
			return fmt.Errorf("writing a source file of %s: %w", p.Name, err)
		}
	}
	return nil
}

// moduleFiles copies the files that are wanted of the required module.
func (b *builder) moduleFiles(ctx context.Context, src string, p Programs, out string) error {
	if len(p.Files) == 0 {
		return nil
	}
	root, err := b.moduleDir(ctx, src, p.Required)
	if err != nil {
		return err
	}
	for _, f := range p.Files {
		content, err := os.ReadFile(filepath.Join(root, f))
		if err == nil {
			err = os.WriteFile(filepath.Join(out, filepath.Base(f)), content, 0o644)
		}
		if err != nil {
			return fmt.Errorf("copying %s of %s: %w", f, p.Required, err)
		}
	}
	return nil
}

// DebianArchive makes a Debian root file system with the packages, or finds it in the cache, and returns the file
// with its archive: a layer of an image. It needs root.
func DebianArchive(ctx context.Context, packages []string, progress func(Step)) (file string, err error) {
	title := "the Debian packages " + strings.Join(packages, ", ")
	dir, err := buildSingle(ctx, title, progress, func(ctx context.Context, b *builder, s *step) (string, error) {
		key := entryName("debian", append([]string{suite, runtime.GOARCH, fmt.Sprint(excluded)}, packages...)...)
		return b.entry(key, s, func() (string, error) { return b.debianArchive(ctx, packages, s) })
	})
	if err != nil {
		return "", fmt.Errorf("making %s: %w", title, err)
	}
	return filepath.Join(dir, rootfsName), nil
}

// debianArchive makes a Debian root file system and returns a folder of the build with its archive.
func (b *builder) debianArchive(ctx context.Context, packages []string, s *step) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("debootstrap needs root: run as root")
	}
	root, err := b.debian(ctx, s, "debian-root", packages)
	if err != nil {
		return "", err
	}
	out, err := b.folder("debian")
	if err != nil {
		return "", err
	}
	return out, errors.Join(packDebian(ctx, root, filepath.Join(out, rootfsName)), os.RemoveAll(root))
}

// buildSingle runs a build of one step and returns the folder that it made.
func buildSingle(ctx context.Context, title string, progress func(Step), run func(context.Context, *builder, *step) (string, error)) (dir string, err error) {
	err = withBuildLock(ctx, progress, func(ctx context.Context, b *builder) error {
		single := &step{component: title, run: func(s *step) (err error) {
			dir, err = run(ctx, b, s)
			return err
		}}
		single.place(0, 0)
		return single.do(progress)
	})
	return dir, err
}
