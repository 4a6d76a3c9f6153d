package resolvconf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOfKubelet(t *testing.T) {
	var many, long []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("d%d.example", i))
		long = append(long, fmt.Sprintf("%s%02d.example", strings.Repeat("x", 90), i)) // 100 characters
	}
	for name, c := range map[string]struct {
		text string
		want Config
		cut  bool
	}{
		"as it is": {"search corp.example\nnameserver 10.0.0.1\noptions edns0 trust-ad\n",
			Config{[]string{"10.0.0.1"}, []string{"corp.example"}, []string{"edns0", "trust-ad"}}, false},
		"four nameservers: the first three": {"nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver fd00::3\nnameserver 10.0.0.4\n",
			Config{Nameservers: []string{"10.0.0.1", "10.0.0.2", "fd00::3"}}, true},
		"a domain line is passed over":            {"domain corp.example\nnameserver 10.0.0.1\n", Config{Nameservers: []string{"10.0.0.1"}}, false},
		"the root is no search domain":            {"search . corp.example.\n", Config{Search: []string{"corp.example"}}, false},
		"the last search line, the last option":   {"search a b\nsearch c\noptions ndots:1 ndots:3\noptions timeout:2\n", Config{Search: []string{"c"}, Options: []string{"ndots:3", "timeout:2"}}, false},
		"an empty search line takes back":         {"search a\nsearch\n", Config{}, false},
		"comments, and a nameserver without one":  {"#nameserver 1.1.1.1\n; nameserver 2.2.2.2\nnameserver\n", Config{}, false},
		"33 and more searches: the first 32":      {"search " + strings.Join(many, " ") + "\n", Config{Search: many[:32]}, true},
		"more than 2048 characters: what fits":    {"search " + strings.Join(long[:30], " ") + "\n", Config{Search: long[:20]}, true},
		"a domain too long to be one is left out": {"search " + strings.Repeat("x", 254) + " b\n", Config{Search: []string{"b"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, cut := OfKubelet(c.text)
			_, observed, same := got.Difference(c.want)
			require.True(t, same, observed)
			require.Equal(t, c.cut, cut)
			require.Equal(t, c.want.Options, got.Options)
		})
	}
	require.True(t, Config{}.Empty())
	require.Equal(t, []string{"127.0.0.1"}, WithoutFile().Nameservers)
	require.Equal(t, []string{"127.0.0.1", "::1"}, WithoutFile("127.0.0.1", "::1").Nameservers)
}

func FuzzOfKubelet(f *testing.F) {
	f.Add("search .\noptions\nnameserver 1\nnameserver 1\nnameserver 1\nnameserver 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, _ := OfKubelet(text)
		require.LessOrEqual(t, len(c.Nameservers), MaxNameservers)
		require.LessOrEqual(t, len(c.Search), MaxSearches)
		again, cut := limited(c)
		require.Equal(t, c, again)
		require.False(t, cut)
	})
}
