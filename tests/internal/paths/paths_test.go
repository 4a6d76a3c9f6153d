package paths

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDraw(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)).IntN
	require.Empty(t, Draw(0, random))
	require.Equal(t, []Pair{{0, 0}, {0, 1}, {1, 0}, {1, 1}}, Draw(2, random))
	for nodes := 1; nodes <= 40; nodes++ {
		each := 1 + Neighbours
		if nodes <= Whole {
			each = nodes
		}
		drawn := Draw(nodes, random)
		require.Len(t, drawn, nodes*each, "%d nodes", nodes)
		seen, out, in := map[Pair]bool{}, map[int]int{}, map[int]int{}
		for _, p := range drawn {
			require.False(t, seen[p], "%v is there twice", p)
			seen[p] = true
			out[p.From]++
			in[p.To]++
		}
		for node := range nodes {
			require.Equal(t, each, out[node], "node %d of %d", node, nodes)
			require.Equal(t, each, in[node], "node %d of %d", node, nodes)
			require.True(t, seen[Pair{node, node}])
			require.True(t, seen[Pair{node, (node + 1) % nodes}])
		}
		for p := range seen {
			require.True(t, seen[Pair{p.To, p.From}], "%v without its reverse", p)
		}
	}
}

func TestWays(t *testing.T) {
	// Of 100 questions each way 10 are lost from A to B, of the answers to the other's none, since they come back from B to A.
	there, back := Exchanged{Sent: 100, Arrived: 90, Answered: 90}, Exchanged{Sent: 100, Arrived: 100, Answered: 89}
	way, reverse := Ways(there, back)
	require.Equal(t, Way{Sent: 200, Lost: 21}, way)
	require.Equal(t, Way{Sent: 190, Lost: 0}, reverse)
	way, reverse = Ways(Exchanged{Sent: 10, Arrived: 10, Answered: 7}, Exchanged{})
	require.Equal(t, Way{Sent: 10}, way)
	require.Equal(t, Way{Sent: 10, Lost: 3}, reverse)
}

func TestBehind(t *testing.T) {
	require.Empty(t, Behind(nil, 10))
	require.Empty(t, Behind([]float64{5}, 10))
	require.Empty(t, Behind([]float64{5, 49}, 10))
	require.Equal(t, []int{0, 2}, Behind([]float64{5, 50, 0}, 10))
}
