package resolvconf

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want Config
	}{
		"a pod's": {"search a.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
			Config{[]string{"10.96.0.10"}, []string{"a.svc.cluster.local", "svc.cluster.local", "cluster.local"}, []string{"ndots:5"}}},
		"comments, and what nobody reads": {"# nameserver 1.1.1.1\n; x y\n#nameserver 2.2.2.2\nsortlist 10.0.0.0\nnameserver fd00::1\n",
			Config{Nameservers: []string{"fd00::1"}}},
		"the last search wins":         {"search a b.\ndomain c.\n", Config{Search: []string{"c"}}},
		"the root as a search":         {"search .\n", Config{Search: []string{"."}}},
		"options of several lines":     {"options ndots:2 edns0\noptions attempts:1\n", Config{Options: []string{"attempts:1", "edns0", "ndots:2"}}},
		"nothing":                      {"", Config{}},
		"a nameserver without address": {"nameserver\n", Config{}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, Parse(tc.text)) })
	}
}

func TestDifference(t *testing.T) {
	pod := Parse("search a b\nnameserver 10.0.0.1\noptions ndots:5 edns0\n")
	_, _, same := pod.Difference(Parse("options edns0\noptions ndots:5\nnameserver 10.0.0.1\nsearch a. b.\n"))
	require.True(t, same)
	expected, observed, same := pod.Difference(Parse("search b a\nnameserver 10.0.0.1\n"))
	require.False(t, same)
	require.Equal(t, "the search list [b a]", expected)
	require.Equal(t, "[a b]", observed)
	expected, observed, _ = Parse("").Difference(pod)
	require.Equal(t, "the nameservers [10.0.0.1]", expected)
	require.Equal(t, "none", observed)
	value, set := pod.Option("ndots")
	require.Equal(t, "5", value)
	require.True(t, set)
	_, set = pod.Option("rotate")
	require.False(t, set)
}

func FuzzParse(f *testing.F) {
	f.Add("search .\noptions\nnameserver 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := Parse(text)
		_, _, same := c.Difference(c)
		require.True(t, same)
	})
}
