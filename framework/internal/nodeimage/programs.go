package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
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
	one := &step{component: p.Name + " " + m.version}
	one.place(0, 0)
	err = alone(ctx, progress, func(ctx context.Context, b *builder) error {
		one.run = func(s *step) (err error) {
			dir, err = b.programs(ctx, p, m, s)
			return err
		}
		return one.do(progress)
	})
	if err != nil {
		return "", fmt.Errorf("building %s: %w", one.component, err)
	}
	return dir, nil
}

// programs builds them, or takes them from the cache.
func (b *builder) programs(ctx context.Context, p Programs, m module, s *step) (string, error) {
	stamped := component{stamp: p.Stamp}
	if p.Stamp == nil {
		stamped = components[0] // Kubernetes' stamp also tells e2e.test its version
	}
	flags := []string{"-trimpath", "-buildvcs=false", "-ldflags=" + stamped.ldflags(m.version)}
	key := entryName(p.Name, append(p.madeFrom(b.goVersion, m), flags...)...)
	if dir, ok := b.cache.get(key); ok {
		s.cached()
		return dir, nil
	}
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
	out, err := b.folder("bin-" + p.Name)
	if err != nil {
		return "", err
	}
	mains := slices.DeleteFunc(slices.Clone(m.tools), func(tool string) bool { return p.Tests[tool] != "" })
	calls := [][]string{append(append([]string{"build", "-v", "-o", out + string(filepath.Separator)}, flags...), mains...)}
	for _, tool := range m.tools {
		if name := p.Tests[tool]; name != "" {
			calls = append(calls, append(append([]string{"test", "-c", "-v", "-o", filepath.Join(out, name)}, flags...), tool))
		}
	}
	for _, args := range calls {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env = src, b.goEnv()
		if _, err := command(ctx, cmd, false, s.detail); err != nil {
			return "", err
		}
	}
	if err := b.moduleFiles(ctx, src, p, out); err != nil {
		return "", err
	}
	return b.cache.put(key, out)
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
// with its archive: a layer of an image.
func DebianArchive(ctx context.Context, packages []string, progress func(Step)) (file string, err error) {
	what := "the Debian packages " + strings.Join(packages, ", ")
	one := &step{component: what}
	one.place(0, 0)
	err = alone(ctx, progress, func(ctx context.Context, b *builder) error {
		one.run = func(s *step) error {
			key := entryName("debian", append([]string{suite, runtime.GOARCH, fmt.Sprint(leftOut)}, packages...)...)
			if dir, ok := b.cache.get(key); ok {
				s.cached()
				file = filepath.Join(dir, rootfsName)
				return nil
			}
			if os.Geteuid() != 0 {
				return errors.New("debootstrap needs root: run as root")
			}
			root, err := b.debian(ctx, s, "debian-root", packages)
			if err != nil {
				return err
			}
			out, err := b.folder("debian")
			if err != nil {
				return err
			}
			err = errors.Join(packDebian(ctx, root, filepath.Join(out, rootfsName)), os.RemoveAll(root))
			if err != nil {
				return err
			}
			dir, err := b.cache.put(key, out)
			file = filepath.Join(dir, rootfsName)
			return err
		}
		return one.do(progress)
	})
	if err != nil {
		return "", fmt.Errorf("making %s: %w", what, err)
	}
	return file, nil
}
