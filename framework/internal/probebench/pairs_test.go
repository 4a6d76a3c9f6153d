package probebench

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

func TestPairsDrawWhoReachesWhom(t *testing.T) {
	ok, no := wire.OK, wire.TimedOut
	m := &Pairs{names: []string{"a", "b", "long"}, nodes: []string{"n1", "n1", "n2"}, cells: [][][2]wire.Class{
		{{ok, ok}, {ok, ok}, {no, ok}},
		{{ok, no}, {ok, ok}, {no, no}},
		{{ok, ok}, {ok, ok}, {ok, ok}},
	}}
	require.Equal(t, 12, m.Tried())
	require.Equal(t, 4, m.Broken())
	require.Equal(t, `all ordered pairs of 3 pods: . both answered, t no TCP, u no UDP, X neither; 4 of 12 exchanges failed
  n1
    a    \.|t
    b    u\|X
  n2
    long ..|\
`, m.String())
}
