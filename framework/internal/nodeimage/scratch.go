package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/parley-k8s/parley/framework/internal/runid"
)

// scratchPart is in the name of every folder of a build, after the run's ID.
const scratchPart = "nodeimage"

// scratch makes a folder for a build on the cache's file system, where its results can be renamed into the
// cache, and where files may be executed and device nodes made, which is not so in every /tmp.
func (c *cache) scratch() (string, error) {
	parent := filepath.Join(c.dir, "scratch")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("making a folder for the build: %w", err)
	}
	return scratchIn(parent)
}

// scratchIn makes a folder of this run in a parent; "" is the system's folder for temporary files.
func scratchIn(parent string) (string, error) {
	id, err := runid.New()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(parent, id.Name(scratchPart)+"-")
	if err != nil {
		return "", fmt.Errorf("making a folder for the build: %w", err)
	}
	// The node's files keep their modes for all users: the folder itself must be passable.
	return dir, os.Chmod(dir, 0o755)
}

// Reap removes what builds left whose process has ended: only folders are left, since a build's mounts and
// processes end with it.
func Reap(ctx context.Context) error {
	folders, err := Leftovers()
	errs := []error{err}
	for _, folder := range folders {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err := os.RemoveAll(folder); err != nil {
			errs = append(errs, fmt.Errorf("removing what a build left: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Leftovers are the folders that Reap would remove.
func Leftovers() ([]string, error) {
	parents := []string{os.TempDir()}
	if base, err := os.UserCacheDir(); err == nil {
		parents = append(parents, filepath.Join(base, "parley", "nodeimage", "scratch"))
	}
	var folders []string
	var errs []error
	for _, parent := range parents {
		list, err := os.ReadDir(parent)
		if err != nil && !os.IsNotExist(err) {
			errs = append(errs, fmt.Errorf("looking for what builds left: %w", err))
		}
		for _, e := range list {
			id, ok := runid.Parse(e.Name())
			if ok && !id.Alive() && strings.HasPrefix(e.Name(), id.Name(scratchPart)+"-") {
				folders = append(folders, filepath.Join(parent, e.Name()))
			}
		}
	}
	return folders, errors.Join(errs...)
}
