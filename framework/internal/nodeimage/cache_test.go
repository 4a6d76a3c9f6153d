package nodeimage

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/runid"
)

func testCache(t *testing.T) *cache {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c, err := openCache()
	require.NoError(t, err)
	return c
}

func put(t *testing.T, c *cache, name string, files map[string]string) string {
	from, err := c.scratch()
	require.NoError(t, err)
	for f, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(from, f), []byte(content), 0o644))
	}
	dir, err := c.put(name, from)
	require.NoError(t, err)
	require.NoDirExists(t, from)
	return dir
}

func TestCacheGivesWhatWasPut(t *testing.T) {
	c := testCache(t)
	_, ok := c.get("x-1")
	require.False(t, ok)
	put(t, c, "x-1", map[string]string{"a": "old"})
	dir := put(t, c, "x-1", map[string]string{"a": "new"})
	got, ok := c.get("x-1")
	require.True(t, ok)
	require.Equal(t, dir, got)
	b, err := os.ReadFile(filepath.Join(got, "a"))
	require.NoError(t, err)
	require.Equal(t, "new", string(b))
}

func TestCacheTrustsNoDamagedEntry(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"a file changed": func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("X"), 0o644))
		},
		"a file cut short": func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, "a"), 0)) },
		"a file gone":      func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "b"))) },
		"a file more":      func(t *testing.T, dir string) { require.NoError(t, os.WriteFile(filepath.Join(dir, "c"), nil, 0o644)) },
		"the sums gone":    func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, sumsName))) },
		"the sums unreadable": func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, sumsName), []byte("{"), 0o644))
		},
		"the sums empty": func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, sumsName), []byte("{}"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := testCache(t)
			dir := put(t, c, "x-1", map[string]string{"a": "1", "b": "2"})
			damage(t, dir)
			_, ok := c.get("x-1")
			require.False(t, ok)
			require.NoDirExists(t, dir)
		})
	}
}

func TestPrune(t *testing.T) {
	c := testCache(t)
	put(t, c, "old-1", map[string]string{"a": "1"})
	put(t, c, "used-1", map[string]string{"a": "1"})
	long := time.Now().Add(-2 * keepFor)
	for _, name := range []string{"old-1", "used-1"} {
		require.NoError(t, os.Chtimes(filepath.Join(c.entries(), name), long, long))
	}
	_, ok := c.get("used-1")
	require.True(t, ok)
	c.prune(time.Now())
	_, ok = c.get("used-1")
	require.True(t, ok)
	_, ok = c.get("old-1")
	require.False(t, ok)
}

func TestLockIsForOne(t *testing.T) {
	c := testCache(t)
	unlock, err := c.lock(t.Context(), func() { t.Error("nobody to wait for") })
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan struct{})
	result := make(chan error, 1)
	go func() {
		_, err := c.lock(ctx, func() { close(waits) })
		result <- err
	}()
	<-waits
	cancel()
	require.Error(t, <-result)

	waits = make(chan struct{})
	go func() {
		second, err := c.lock(t.Context(), func() { close(waits) })
		if err == nil {
			second()
		}
		result <- err
	}()
	<-waits
	unlock()
	require.NoError(t, <-result)
}

func TestStaleImagesAreTheOldest(t *testing.T) {
	c := testCache(t)
	require.Empty(t, c.stale())
	require.NoError(t, os.MkdirAll(c.marks(), 0o755))
	for i, hash := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		f := filepath.Join(c.marks(), hash)
		require.NoError(t, os.WriteFile(f, nil, 0o644))
		at := time.Now().Add(time.Duration(i) * time.Minute)
		require.NoError(t, os.Chtimes(f, at, at))
	}
	require.Equal(t, []string{"b", "a"}, c.stale())
	require.NoError(t, os.WriteFile(filepath.Join(c.marks(), "crio-0"), nil, 0o644))
	require.Equal(t, []string{"b", "a"}, c.stale(), "each runtime's are counted apart")
}

func TestReapRemovesDeadBuildsOnly(t *testing.T) {
	c := testCache(t)
	t.Setenv("TMPDIR", t.TempDir())
	mine, err := c.scratch()
	require.NoError(t, err)
	mineTemp, err := scratchIn("")
	require.NoError(t, err)
	// The largest process number is never given out, so the owner is dead.
	dead := runid.ID("2147483647-touo2r").Name(scratchPart)
	gone := []string{filepath.Join(filepath.Dir(mine), dead+"-1"), filepath.Join(os.TempDir(), dead+"-2")}
	stays := []string{mine, mineTemp, filepath.Join(os.TempDir(), runid.ID("2147483647-touo2r").Name("engine")+"-3"), filepath.Join(os.TempDir(), "other")}
	for _, d := range append(gone, stays...) {
		require.NoError(t, os.MkdirAll(filepath.Join(d, "sub"), 0o755))
	}
	require.NoError(t, Reap(t.Context()))
	for _, d := range gone {
		require.NoDirExists(t, d)
	}
	for _, d := range stays {
		require.DirExists(t, d)
	}
}
