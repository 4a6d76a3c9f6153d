package requirement

import (
	"testing"

	"github.com/stretchr/testify/require"
)

var some = []Requirement{{ID: "pod/own-ip"}, {ID: "pod/ip-unique"}, {ID: "dns/service-a"}}

func TestParseSelection(t *testing.T) {
	for _, c := range []struct {
		list, problem string
		has           []string
	}{
		{list: "", has: []string{"pod/own-ip", "pod/ip-unique", "dns/service-a"}},
		{list: " , ", has: []string{"pod/own-ip", "pod/ip-unique", "dns/service-a"}},
		{list: "pod", has: []string{"pod/own-ip", "pod/ip-unique"}},
		{list: "dns, pod/own-ip", has: []string{"pod/own-ip", "dns/service-a"}},
		{list: "*/*-a,pod/ip-*", has: []string{"pod/ip-unique", "dns/service-a"}},
		{list: "own-ip", problem: `"own-ip" names no requirement`},
		{list: "pod,node", problem: `"node" names no requirement`},
		{list: "pod/[", problem: `"pod/[" is not a pattern`},
	} {
		s, err := ParseSelection(c.list, some)
		if c.problem != "" {
			require.ErrorContains(t, err, c.problem)
			continue
		}
		require.NoError(t, err, c.list)
		var has []string
		for _, r := range some {
			if s.Has(r.ID) {
				has = append(has, r.ID)
			}
		}
		require.Equal(t, c.has, has, c.list)
	}
}

func TestSelectionNames(t *testing.T) {
	s, err := ParseSelection("pod,dns/service-a", some)
	require.NoError(t, err)
	require.True(t, s.Names("dns/service-a"))
	require.False(t, s.Names("pod/own-ip"))
}

func FuzzParseSelection(f *testing.F) {
	for _, seed := range []string{"", "pod", "pod/*,dns", "[", "a/b/c", `\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		s, err := ParseSelection(list, some)
		if err != nil {
			return
		}
		for _, r := range some {
			if s.Names(r.ID) && !s.Has(r.ID) {
				t.Fatalf("%q names %s and does not choose it", list, r.ID)
			}
		}
	})
}
