package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ids "github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/reports"
)

// deadRun is the ID of a run whose owner can't live: no process has that number.
func deadRun() ids.ID {
	return ids.ID("2147483646-" + strconv.FormatInt(time.Now().Unix(), 36))
}

// Only listing is tried here: what the command removes belongs to the whole host, where other runs may go on.
func TestCleanLists(t *testing.T) {
	tmp, cache := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("HOME", cache)
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("PATH", "") // no engine

	dead := deadRun()
	left := filepath.Join(tmp, dead.Name("agent")+"-1")
	base, err := os.UserCacheDir()
	require.NoError(t, err)
	build := filepath.Join(base, "parley", "nodeimage", "scratch", dead.Name("nodeimage")+"-1")
	self, err := ids.New()
	require.NoError(t, err)
	own := filepath.Join(tmp, self.Name("agent")+"-1")
	for _, dir := range []string{left, build, own} {
		require.NoError(t, os.MkdirAll(dir, 0o700))
	}

	code, out, errOut := parley(t, "clean", "--dry-run")
	require.Equal(t, reports.ExitPassed, code, errOut)
	require.Contains(t, errOut, "only tables and folders are looked for")
	require.Contains(t, out, "folder "+left+" (owner gone)\n")
	require.NotContains(t, out, own)
	require.Contains(t, out, "folder "+build+" (owner gone)\n")
	for _, dir := range []string{left, build, own} {
		require.DirExists(t, dir)
	}

	// A kept cluster's folder is listed with --all only.
	kept := filepath.Join(tmp, dead.Name())
	require.NoError(t, os.Mkdir(kept, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(kept, "keep"), nil, 0o600))
	_, out, _ = parley(t, "clean", "--dry-run")
	require.NotContains(t, out, kept)
	_, out, _ = parley(t, "clean", "--dry-run", "--all")
	require.Contains(t, out, "folder "+kept+" (kept)\n")
}
