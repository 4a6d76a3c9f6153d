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

// binaries builds one component's main packages, or gets its packages, or takes them from the cache, and returns the
// programs' folder.
func (b *builder) binaries(ctx context.Context, c component, s *step) (string, error) {
	if c.packaged != nil {
		return b.debPrograms(ctx, c.packaged.Debs, s)
	}
	m, err := c.read()
	if err != nil {
		return "", err
	}
	flags := []string{"-trimpath", "-buildvcs=false", "-tags=" + c.tags, "-ldflags=" + c.ldflags(m.version)}
	key := entryName(c.name, append([]string{b.goVersion, runtime.GOARCH, string(m.mod), string(m.sum)}, flags...)...)
	if dir, ok := b.cache.get(key); ok {
		s.cached()
		return dir, nil
	}
	src, err := b.folder("src-" + c.name)
	if err != nil {
		return "", err
	}
	if err := m.write(src); err != nil {
		return "", err
	}
	return b.compile(ctx, key, src, flags, m.tools, c.as, s)
}

// pause builds the program that holds a pod's namespaces.
func (b *builder) pause(ctx context.Context, s *step) (string, error) {
	text, err := inputs.ReadFile("pause/main.go")
	if err != nil {
		return "", fmt.Errorf("reading pause's source: %w", err)
	}
	key := entryName("pause", b.goVersion, runtime.GOARCH, string(text))
	if dir, ok := b.cache.get(key); ok {
		s.cached()
		return dir, nil
	}
	src, err := b.folder("src-pause")
	if err != nil {
		return "", err
	}
	for name, content := range map[string]string{"go.mod": "module parley.invalid/nodeimage/pause\n\ngo 1.26.0\n", "main.go": string(text)} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(content), 0o644); err != nil {
			return "", fmt.Errorf("writing pause's source: %w", err)
		}
	}
	return b.compile(ctx, key, src, []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w"}, []string{"."}, nil, s)
}

// compile runs go build in a module's folder and keeps the binaries in the cache.
func (b *builder) compile(ctx context.Context, key, src string, flags, mains []string, as map[string]string, s *step) (string, error) {
	out, err := b.folder("bin-" + key)
	if err != nil {
		return "", err
	}
	// -v names each package as it is compiled, which shows that a long build goes on.
	args := append([]string{"build", "-v", "-o", out + string(filepath.Separator)}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, mains...)...)
	cmd.Dir, cmd.Env = src, b.goEnv()
	if _, err := command(ctx, cmd, false, s.detail); err != nil {
		return "", err
	}
	for from, to := range as {
		if err := os.Rename(filepath.Join(out, from), filepath.Join(out, to)); err != nil {
			return "", fmt.Errorf("naming a binary: %w", err)
		}
	}
	return b.cache.put(key, out)
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
