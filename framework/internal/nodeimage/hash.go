package nodeimage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"
)

// goVersionTimeout bounds the question which Go is there.
const goVersionTimeout = 30 * time.Second

// goVersion is the version of the go command that builds; the error says what to install.
func goVersion() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), goVersionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("the offline node image is built with Go, which does not answer: install Go 1.26 or later: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Hash is the hash of all that goes into an image with these versions: its components' module files, the other files, this
// package's own code with its lists of packages and files, the architecture and the Go version. It is the image's tag.
func Hash(v Versions) (string, error) {
	v, err := v.Resolve()
	if err != nil {
		return "", err
	}
	gover, err := goVersion()
	if err != nil {
		return "", err
	}
	return v.hash(runtime.GOARCH, gover)
}

func (v Versions) hash(facts ...string) (string, error) {
	trees := []fs.FS{v.ingredients(), recipe}
	if slices.ContainsFunc(v.components(), func(c component) bool { return c.packaged != nil }) {
		trees = append(trees, debsRecipe)
	}
	return hashOf(facts, trees...)
}

// ingredients are the inputs that go into an image with these versions, so that what only other images have does not
// count in its hash.
func (v Versions) ingredients() fs.FS {
	used := selectedFS{inputs, map[string]bool{storeConfig(v.Containerd): true}}
	for _, name := range append(modulesOf(v.components()), "kind") {
		used.names["modules/"+name+".mod"], used.names["modules/"+name+".sum"] = true, true
	}
	return used
}

// modulesOf are the names of the components' files in modules/.
func modulesOf(all []component) (names []string) {
	for _, c := range all {
		if c.packaged == nil {
			names = append(names, cmp.Or(c.module, c.name))
		}
	}
	return names
}

// selectedFS are the files of FS without those of other versions: of what comes in several versions (modules, and the store's
// configurations) only the files that are in names.
type selectedFS struct {
	embed.FS
	names map[string]bool
}

// ReadDir is the folder's list without what is not named.
func (s selectedFS) ReadDir(folder string) ([]fs.DirEntry, error) {
	list, err := s.FS.ReadDir(folder)
	return slices.DeleteFunc(list, func(e fs.DirEntry) bool {
		name := path.Join(folder, e.Name())
		several := strings.HasPrefix(name, "modules/") || strings.HasPrefix(name, storeConfigs)
		return several && !s.names[name]
	}), err
}

// hashOf hashes each fact and each file with its name; lengths keep two lists apart that read the same joined.
func hashOf(facts []string, trees ...fs.FS) (string, error) {
	h := sha256.New()
	for _, f := range facts {
		fmt.Fprintf(h, "%d %s\n", len(f), f)
	}
	for _, tree := range trees {
		err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := fs.ReadFile(tree, name)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "%s %d\n", path.Clean(name), len(b))
			h.Write(b)
			return nil
		})
		if err != nil {
			return "", fmt.Errorf("hashing the node image's inputs: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:hashLength], nil
}

// hashLength is how many hexadecimal digits of a hash make a name.
const hashLength = 16

// fileSum is the SHA-256 sum of a file, and its size in bytes.
func fileSum(file string) (sum []byte, size int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return h.Sum(nil), size, err
}
