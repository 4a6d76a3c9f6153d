package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/runid"
)

func TestHostwideSettingsAreCounted(t *testing.T) {
	ctx := context.Background()
	setting := filepath.Join(t.TempDir(), "setting")
	require.NoError(t, os.WriteFile(setting, []byte("128"), 0o600))
	read := func() string {
		raw, err := os.ReadFile(setting)
		require.NoError(t, err)
		return string(raw)
	}
	h := hostSetting{dir: filepath.Join(t.TempDir(), "counted"), apply: func() (string, error) {
		if read() != "128" {
			return "", nil
		}
		return "128", os.WriteFile(setting, []byte("1024"), 0o600)
	}, restore: func(original string) error { return os.WriteFile(setting, []byte(original), 0o600) }}

	self, err := runid.New()
	require.NoError(t, err)
	other := runid.ID("1-" + strings.SplitN(string(self), "-", 2)[1]) // process 1 lives, but began at another time: a dead owner
	require.False(t, other.Alive())

	require.NoError(t, h.release(ctx, self, nil), "nothing was ever held")
	require.NoError(t, h.acquire(ctx, other))
	require.Equal(t, "1024", read())
	require.NoError(t, h.acquire(ctx, self))
	require.NoError(t, h.release(ctx, other, nil))
	require.Equal(t, "1024", read(), "one run still rests on it")
	require.NoError(t, h.acquire(ctx, other))
	require.NoError(t, h.release(ctx, self, map[runid.ID]bool{other: true}))
	require.Equal(t, "1024", read(), "the other holder is dead, its containers run")
	require.NoError(t, h.release(ctx, self, nil))
	require.Equal(t, "128", read(), "the other holder is dead")
	require.NoError(t, h.release(ctx, self, nil), "twice is no error")
}

func TestHostwideLeavesAHostAloneThatHasEnough(t *testing.T) {
	ctx := context.Background()
	h := hostSetting{dir: filepath.Join(t.TempDir(), "counted"), apply: func() (string, error) { return "", nil },
		restore: func(string) error { t.Fatal("nothing was changed"); return nil }}
	require.NoError(t, h.acquire(ctx, "1-aaaaaa"))
	require.NoError(t, h.release(ctx, "1-aaaaaa", nil))
}
