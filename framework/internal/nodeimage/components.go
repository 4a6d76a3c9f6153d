package nodeimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// goEnv is what every build's environment says: static binaries for Linux, the sums enforced, and nothing of the
// caller's workspace or flags.
func (b *builder) goEnv() []string {
	return environ("CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH, "GOFLAGS=-mod=readonly", "GOWORK=off", "GO111MODULE=on",
		"GOTMPDIR="+b.dir)
}

// binaries returns the folder with one component's programs: from the cache, or built from its module, or taken from
// Debian's packages.
func (b *builder) binaries(ctx context.Context, c component, s *step) (string, error) {
	if c.packaged != nil {
		return b.debPrograms(ctx, c.packaged.Debs, s)
	}
	m, err := c.read()
	if err != nil {
		return "", err
	}
	build := goBuild{
		flags: []string{"-trimpath", "-buildvcs=false", "-tags=" + c.tags, "-ldflags=" + c.ldflags(m.version)},
		mains: m.tools, renames: c.renames,
	}
	key := entryName(c.name, append([]string{b.goVersion, runtime.GOARCH, string(m.mod), string(m.sum)}, build.flags...)...)
	return b.entry(key, s, func() (string, error) {
		src, err := b.folder("src-" + c.name)
		if err != nil {
			return "", err
		}
		if err := m.write(src); err != nil {
			return "", err
		}
		return b.compile(ctx, c.name, src, build, s)
	})
}

// singleFile builds a program of one Go file that needs the standard library only, or takes it from the cache, and returns
// the folder with it. key is the name of the cache's entry, which says what the program is made from.
func (b *builder) singleFile(ctx context.Context, name, key string, source []byte, s *step) (string, error) {
	return b.entry(key, s, func() (string, error) {
		src, err := b.folder("src-" + name)
		if err != nil {
			return "", err
		}
		for file, content := range map[string]string{"go.mod": "module parley.invalid/nodeimage/" + name + "\n\ngo 1.26.0\n", "main.go": string(source)} {
			if err := os.WriteFile(filepath.Join(src, file), []byte(content), 0o644); err != nil {
				return "", fmt.Errorf("writing %s's source: %w", name, err)
			}
		}
		return b.compile(ctx, name, src, goBuild{flags: []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w"}, mains: []string{"."}}, s)
	})
}

// pause builds the program that holds a pod's namespaces.
func (b *builder) pause(ctx context.Context, s *step) (string, error) {
	source, err := inputs.ReadFile("pause/main.go")
	if err != nil {
		return "", fmt.Errorf("reading pause's source: %w", err)
	}
	return b.singleFile(ctx, "pause", entryName("pause", b.goVersion, runtime.GOARCH, string(source)), source, s)
}

// goBuild says what go build makes of a module.
type goBuild struct {
	flags   []string
	mains   []string          // the main packages
	renames map[string]string // of binaries: new names by those that go build gives them
}

// compile runs go build in the folder src of a module, and returns the folder of the build with the binaries.
func (b *builder) compile(ctx context.Context, name, src string, build goBuild, s *step) (string, error) {
	out, err := b.folder("bin-" + name)
	if err != nil {
		return "", err
	}
	// -v names each package as it is compiled, which shows that a long build goes on.
	args := append([]string{"build", "-v", "-o", out + string(filepath.Separator)}, build.flags...)
	if err := b.goCommand(ctx, src, append(args, build.mains...), s); err != nil {
		return "", err
	}
	for from, to := range build.renames {
		if err := os.Rename(filepath.Join(out, from), filepath.Join(out, to)); err != nil {
			return "", fmt.Errorf("naming a binary: %w", err)
		}
	}
	return out, nil
}

// goCommand runs the go command in a folder.
func (b *builder) goCommand(ctx context.Context, dir string, args []string, s *step) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = dir, b.goEnv()
	_, err := command(ctx, cmd, false, s.detail)
	return err
}

// kindFiles is the folder of kind's base files in the Go module cache, checked against the sum in modules/kind.sum.
func (b *builder) kindFiles(ctx context.Context) (string, error) {
	m, err := readModule("kind", "sigs.k8s.io/kind")
	if err != nil {
		return "", err
	}
	src, err := b.folder("src-kind")
	if err != nil {
		return "", err
	}
	if err := m.write(src); err != nil {
		return "", err
	}
	root, err := b.moduleDir(ctx, src, "sigs.k8s.io/kind")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "images", "base", "files")
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("kind's base files: %w", err)
	}
	return dir, nil
}

// moduleDir is the folder in the Go module cache of a module that the one in src requires, checked against its sum.
func (b *builder) moduleDir(ctx context.Context, src, path string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", path)
	cmd.Dir, cmd.Env = src, b.goEnv()
	out, err := command(ctx, cmd, false, nil)
	if err != nil {
		return "", err
	}
	var got struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		return "", fmt.Errorf("reading where the module %s is: %w", path, err)
	}
	return got.Dir, nil
}

// entryName names a cache entry by what it was made from.
func entryName(name string, from ...string) string {
	h := sha256.New()
	for _, f := range from {
		fmt.Fprintf(h, "%d %s\n", len(f), f)
	}
	return strings.Join([]string{name, hex.EncodeToString(h.Sum(nil))[:hashLength]}, "-")
}
