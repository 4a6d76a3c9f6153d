package cni

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlacesOf(t *testing.T) {
	defaults := PlacesOf(nil)
	require.Equal(t, "/etc/cni/net.d", defaults.Config)
	require.False(t, defaults.Told)
	for _, c := range []struct {
		config string
		want   Places
	}{
		{`{"cni":{"binDirs":["/a","/b"],"confDir":"/c"}}`, Places{"/c", []string{"/a", "/b"}, true}},
		{`{"cni":{"binDir":"/a","confDir":"/c"}}`, Places{"/c", []string{"/a"}, true}},
		{`{"cni":{"confDir":"/c"}}`, Places{"/c", defaults.Bins, true}},
		{`{"cni":{}}`, defaults},
		{`no`, defaults},
	} {
		require.Equal(t, c.want, PlacesOf(map[string]string{"config": c.config}), c.config)
	}
	require.Equal(t, "OK", Loaded(map[string]string{"lastCNILoadStatus": "OK"}))
	require.Empty(t, Loaded(nil))
}

func TestFirstOf(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"20-b.conflist", "10-a.conf", "README"}, "10-a.conf"},
		{[]string{"z.json", "a.bak", "87-x.conflist.swp"}, "z.json"},
		{[]string{"a.bak"}, ""},
		{nil, ""},
	} {
		got, ok := FirstOf(c.names)
		require.Equal(t, c.want, got)
		require.Equal(t, c.want != "", ok)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, file, data string
		want             Network
		err              string
	}{
		{"a list", "a.conflist", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp","ipam":{"type":"host-local"}},{"type":"portmap"}]}`,
			Network{"n", "1.0.0", []string{"ptp", "host-local", "portmap"}}, ""},
		{"one plugin", "a.conf", `{"cniVersion":"0.3.1","name":"n","type":"bridge"}`, Network{"n", "0.3.1", []string{"bridge"}}, ""},
		{"no version", "a.conf", `{"name":"n","type":"bridge"}`, Network{"n", "0.1.0", []string{"bridge"}}, ""},
		{"not JSON", "a.conflist", `{"cniVersion":`, Network{}, "reading a.conflist"},
		{"no plugins", "a.conflist", `{"cniVersion":"1.0.0","name":"n","plugins":[]}`, Network{}, "reading a.conflist"},
		{"a version of tomorrow", "a.conflist", `{"cniVersion":"9.0.0","name":"n","plugins":[{"type":"ptp"}]}`, Network{}, `"9.0.0"`},
		{"no type", "a.conf", `{"name":"n"}`, Network{}, "type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.file, []byte(c.data))
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a.conflist", []byte(`{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp"}]}`))
	f.Add("a.conf", []byte(`{"name":"n","type":"bridge"}`))
	f.Fuzz(func(t *testing.T, file string, data []byte) {
		if n, err := Parse(file, data); err == nil && len(n.Plugins) == 0 {
			t.Fatal("a configuration without plugins was taken")
		}
	})
}
