package cni

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHostLocal(t *testing.T) {
	for name, want := range map[string]string{"10.244.1.5": "10.244.1.5", "fd00::5": "fd00::5", "fd00__5": "fd00::5"} {
		ip, ok := HostLocalAddress(name)
		require.True(t, ok, name)
		require.Equal(t, want, ip.String())
	}
	for _, name := range []string{"lock", "last_reserved_ip.0", ""} {
		_, ok := HostLocalAddress(name)
		require.False(t, ok, name)
	}
	require.Equal(t, "abc", HostLocalHolder([]byte("abc\r\neth0")))
	require.Equal(t, "abc", HostLocalHolder([]byte("abc")), "as the plugin wrote it before 0.8")
	require.Empty(t, HostLocalHolder(nil))
}

func FuzzHostLocal(f *testing.F) {
	f.Add("fd00__5", []byte("abc\r\neth0"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		_, _ = HostLocalAddress(name)
		require.NotContains(t, HostLocalHolder(content), "\n")
	})
}
