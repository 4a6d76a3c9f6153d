package cluster

import (
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHostIsPlainData(t *testing.T) {
	h := Host(t.Context())
	b, err := json.Marshal(h)
	require.NoError(t, err)
	var back HostFacts
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, h, back)
	require.Equal(t, runtime.NumCPU(), h.CPUs)
	for _, f := range h.Features {
		require.Equal(t, f.There, f.Error == "", "%s: a gap says which error was seen", f.Name)
		require.NotEmpty(t, f.For, f.Name)
	}
}

func TestFeaturesLeaveNothing(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("needs root on Linux: namespaces are made")
	}
	before := mounts(t)
	require.NotEmpty(t, features())
	require.Equal(t, before, mounts(t))
}

// mounts are the host's, but for an engine's own store: podman mounts it when the first of its commands runs, and
// other packages' tests run them at the same time.
func mounts(t *testing.T) []string {
	raw, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	return slices.DeleteFunc(strings.Split(string(raw), "\n"), func(line string) bool { return strings.Contains(line, "/containers/storage") })
}
