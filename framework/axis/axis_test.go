package axis

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWordsAreUnique(t *testing.T) {
	seen := map[string]bool{}
	shared := 0
	for _, a := range All() {
		if a.Shared {
			shared++
		}
		for _, word := range append(a.Words(), a.Set) {
			require.False(t, seen[word], "%s is there twice", word)
			require.NotContains(t, word, "+")
			seen[word] = true
		}
	}
	require.LessOrEqual(t, shared, 1)
}

func TestColumns(t *testing.T) {
	for name, c := range map[string]struct {
		family, proxy, matrix string
		want                  string // names; those that came of a set with a question mark
		says                  string
	}{
		"nothing":                       {want: "default"},
		"one value":                     {proxy: "nftables", want: "nftables"},
		"a list":                        {proxy: "iptables,nftables", want: "iptables nftables"},
		"a list with blanks":            {proxy: "iptables, nftables", want: "iptables nftables"},
		"the product of two":            {family: "ipv4,dual", proxy: "iptables,nftables", want: "ipv4+iptables ipv4+nftables dual+iptables dual+nftables"},
		"entries":                       {matrix: "iptables nftables ipv6 dual+nftables", want: "iptables nftables ipv6 dual+nftables"},
		"commas":                        {matrix: "iptables,nftables", want: "iptables nftables"},
		"the order of axes in a name":   {matrix: "nftables+dual", want: "dual+nftables"},
		"a set":                         {matrix: "proxies", want: "iptables? nftables? ipvs?"},
		"a set within an entry":         {matrix: "dual+proxies", want: "dual+iptables? dual+nftables? dual+ipvs?"},
		"a set and one of it by name":   {matrix: "proxies ipvs", want: "iptables? nftables? ipvs"},
		"a flag below every entry":      {family: "dual", matrix: "iptables nftables", want: "dual+iptables dual+nftables"},
		"a flag's list times entries":   {family: "ipv4,ipv6", matrix: "iptables", want: "ipv4+iptables ipv6+iptables"},
		"each once":                     {matrix: "iptables iptables nftables+ipv6 ipv6+nftables", want: "iptables ipv6+nftables"},
		"no such value":                 {proxy: "userspace", says: "-proxy-mode userspace: the proxy modes are iptables, nftables and ipvs"},
		"a value of another axis":       {family: "nftables", says: "the address families are ipv4, ipv6 and dual"},
		"no such word":                  {matrix: "iptables nft", says: `-matrix nft: "nft" is no value of an axis: there are ipv4, ipv6, dual (families: all of these); iptables,`},
		"a dangling plus":               {matrix: "iptables+", says: `"" is no value`},
		"two of an axis":                {matrix: "iptables+nftables", says: "one of the proxy modes, and this names two"},
		"a set and one of its own":      {matrix: "proxies+ipvs", says: "one of the proxy modes"},
		"the same axis in flag and set": {proxy: "ipvs", matrix: "nftables", says: "name the proxy mode in one of them only"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Columns(All(), map[string]string{"family": c.family, "proxy-mode": c.proxy}, c.matrix)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			var names []string
			for _, col := range got {
				n := col.Name()
				if !col.ByName {
					n += "?"
				}
				names = append(names, n)
			}
			require.Equal(t, c.want, strings.Join(names, " "))
		})
	}
}

func TestTooManyColumns(t *testing.T) {
	wide := Axis{Name: "version", Flag: "v", Set: "versions"}
	for r := 'a'; r <= 'z'; r++ {
		wide.Values = append(wide.Values, Value{Word: string(r)})
	}
	_, err := Columns(append(All(), wide), nil, "versions+families+proxies")
	require.ErrorContains(t, err, "more than 64 clusters")
}

func TestFlagsOfAColumn(t *testing.T) {
	axes := []Axis{
		{Name: "proxy mode", Flag: "proxy-mode", Set: "proxies", Values: []Value{{Word: "iptables"}}},
		{Name: "runtime", Flag: "runtime", Set: "runtimes", Values: []Value{{Word: "crio", Flags: map[string]string{"node-image": "x"}}}},
	}
	got, err := Columns(axes, nil, "crio")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"proxy-mode": "", "runtime": "crio", "node-image": "x"}, got[0].Flags())
	require.Equal(t, []string{"crio"}, got[0].Values())
}

func TestLacks(t *testing.T) {
	bare := Host{Lacking: map[string]string{"ipvs": "no such family"}}
	for matrix, want := range map[string]string{
		"iptables":  "",
		"dual":      "",
		"ipvs":      "ipvs: this host's kernel shows no ipvs (no such family)",
		"ipv6+ipvs": "ipvs: this host's kernel shows no ipvs (no such family)",
	} {
		got, err := Columns(All(), nil, matrix)
		require.NoError(t, err)
		require.Equal(t, want, got[0].Lacks(bare))
		require.Empty(t, got[0].Lacks(Host{}))
	}
}

func TestGroups(t *testing.T) {
	for matrix, want := range map[string]struct{ names, handlers, families string }{
		"iptables nftables":      {"iptables nftables", "-; -", "-; -"},
		"handlers":               {"runc,crun,runsc", "runc,crun,runsc", "-"},
		"dual+handlers ipv4":     {"dual+runc,dual+crun,dual+runsc ipv4", "runc,crun,runsc; -", "dual; ipv4"},
		"runc dual+runc crun":    {"runc,crun dual+runc", "runc,crun; runc", "-; dual"},
		"nftables nftables+crun": {"nftables nftables+crun", "-; crun", "-; -"},
	} {
		t.Run(matrix, func(t *testing.T) {
			columns, err := Columns(All(), nil, matrix)
			require.NoError(t, err)
			var names, handlers, families []string
			for _, g := range Groups(columns) {
				flags := g.Flags()
				names, handlers, families = append(names, g.Name()), append(handlers, or(flags["handler"])), append(families, or(flags["family"]))
			}
			require.Equal(t, want.names, strings.Join(names, " "))
			require.Equal(t, want.handlers, strings.Join(handlers, "; "))
			require.Equal(t, want.families, strings.Join(families, "; "))
		})
	}
}

func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func TestValueOfAColumn(t *testing.T) {
	got, err := Columns(All(), nil, "dual+crun")
	require.NoError(t, err)
	require.Equal(t, "crun", got[0].Value("handler"))
	require.Equal(t, "dual", got[0].Value("family"))
	require.Empty(t, got[0].Value("proxy-mode"))
}

func TestArchitecture(t *testing.T) {
	got, err := Columns(All(), nil, "runsc")
	require.NoError(t, err)
	require.Equal(t, "runsc: it exists for amd64 and arm64, and the nodes would be s390x", got[0].Lacks(Host{Architecture: "s390x"}))
	require.Empty(t, got[0].Lacks(Host{Architecture: "arm64"}))
	require.Empty(t, got[0].Lacks(Host{}))
}

// FuzzColumns: any words are columns with names that are folders' names, or a sentence.
func FuzzColumns(f *testing.F) {
	f.Add("ipv4,dual", "iptables nftables+ipv6")
	f.Add("", "proxies+dual,, ++")
	f.Fuzz(func(t *testing.T, family, matrix string) {
		got, err := Columns(All(), map[string]string{"family": family}, matrix)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.NotEmpty(t, got)
		names := map[string]bool{}
		for _, c := range got {
			require.Regexp(t, `^[a-z0-9+]+$`, c.Name())
			require.False(t, names[c.Name()])
			names[c.Name()] = true
		}
	})
}
