package nodeimage

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/parley-k8s/parley/framework/until"
)

// cache keeps what takes long to make, each entry a folder of files with their sums. An entry comes into
// being by one rename, and is believed only as long as its files have the sums that were written down then.
type cache struct{ dir string }

// keepFor is how long an entry that no build asked for is kept.
const keepFor = 30 * 24 * time.Hour

// sumsName is the file with an entry's sums: file name to SHA-256.
const sumsName = "sums.json"

// openCache returns the user's cache, made where it was not.
func openCache() (*cache, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("no folder for the cache of the offline node image: set HOME or XDG_CACHE_HOME: %w", err)
	}
	c := &cache{dir: filepath.Join(base, "parley", "nodeimage")}
	if err := os.MkdirAll(c.entries(), 0o755); err != nil {
		return nil, fmt.Errorf("making the cache of the offline node image: %w", err)
	}
	return c, nil
}

func (c *cache) entries() string { return filepath.Join(c.dir, "entries") }

// errLocked says that another process builds.
var errLocked = errors.New("another run builds the node image")

// lock makes this process the only one that builds; it waits as long as ctx lets it, and calls waiting once where
// it has to. The kernel lets go of the lock of a process that ends, however it does.
func (c *cache) lock(ctx context.Context, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the node image's lock: %w", err)
	}
	said := false
	_, err = until.Settled(ctx, until.Policy{Within: buildTimeout, Every: 200 * time.Millisecond}, func(context.Context) error {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			if !said {
				waiting()
			}
			said, err = true, errLocked
		}
		return err
	})
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("waiting for the node image's lock: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// get returns the folder of an entry whose files are as they were written; a damaged one is removed.
func (c *cache) get(name string) (dir string, ok bool) {
	dir = filepath.Join(c.entries(), name)
	want, err := readSums(dir)
	if err == nil {
		var have map[string]string
		if have, err = sums(dir); err == nil && len(have) > 0 && maps.Equal(want, have) {
			now := time.Now()
			_ = os.Chtimes(dir, now, now) // only tells prune that it was used
			return dir, true
		}
	}
	_ = os.RemoveAll(dir)
	return "", false
}

// put makes a folder on the cache's file system an entry, and returns where it then is.
func (c *cache) put(name, from string) (string, error) {
	s, err := sums(from)
	if err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(from, sumsName), b, 0o644); err != nil {
		return "", fmt.Errorf("writing the sums of %s: %w", name, err)
	}
	dir := filepath.Join(c.entries(), name)
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("replacing %s in the cache: %w", name, err)
	}
	if err := os.Rename(from, dir); err != nil {
		return "", fmt.Errorf("keeping %s in the cache: %w", name, err)
	}
	return dir, nil
}

// entry returns the folder of a cache entry. One that is not there is made: create returns a folder of the build with its
// files, which is moved into the cache.
func (b *builder) entry(key string, s *step, create func() (string, error)) (string, error) {
	if dir, ok := b.cache.get(key); ok {
		s.cached()
		return dir, nil
	}
	dir, err := create()
	if err != nil {
		return "", err
	}
	return b.cache.put(key, dir)
}

// prune removes the entries that were not asked for lately.
func (c *cache) prune(now time.Time) {
	list, _ := os.ReadDir(c.entries())
	for _, e := range list {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > keepFor {
			_ = os.RemoveAll(filepath.Join(c.entries(), e.Name()))
		}
	}
}

func readSums(dir string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, sumsName))
	if err != nil {
		return nil, err
	}
	var s map[string]string
	return s, json.Unmarshal(b, &s)
}

// sums are the SHA-256 sums of a folder's files by name; the file of sums itself is left out.
func sums(dir string) (map[string]string, error) {
	s := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || rel == sumsName {
			return err
		}
		sum, _, err := fileSum(p)
		s[rel] = hex.EncodeToString(sum)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("summing %s: %w", dir, err)
	}
	return s, nil
}
