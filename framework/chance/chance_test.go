package chance

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDrawsToSee(t *testing.T) {
	for _, c := range []struct {
		n     int
		alarm float64
		want  int
	}{
		{0, 1e-9, 1}, {1, 1e-9, 1},
		{2, 1e-9, 31}, // 2 * 2^-31 = 9.3e-10
		{4, 1e-9, 77}, // 4 * 0.75^77 = 9.6e-10
	} {
		require.Equal(t, c.want, DrawsToSee(c.n, c.alarm), "%d among which %g may be missed", c.n, c.alarm)
	}
}

func TestDrawsToSeeHoldsTheBound(t *testing.T) {
	for n := 2; n < 50; n++ {
		miss := float64(n) * math.Pow(1-1/float64(n), float64(DrawsToSee(n, 1e-9)))
		require.LessOrEqual(t, miss, 1e-9)
	}
}

func TestSpreadOf(t *testing.T) {
	require.Zero(t, SpreadOf(nil))
	require.Zero(t, SpreadOf([]int{7}))
	require.Zero(t, SpreadOf([]int{0, 0}))
	require.Zero(t, SpreadOf([]int{250, 250, 250, 250}))
	require.InDelta(t, 3000, SpreadOf([]int{1000, 0, 0, 0}), 1e-9)
}

// The limits are those of printed tables of the chi-square distribution.
func TestSpreadLimit(t *testing.T) {
	require.Zero(t, SpreadLimit(1, 0.05))
	require.InDelta(t, 3.841, SpreadLimit(2, 0.05), 1e-3)
	require.InDelta(t, 7.815, SpreadLimit(4, 0.05), 1e-3)
	require.InDelta(t, 16.266, SpreadLimit(4, 0.001), 1e-3)
	require.Greater(t, SpreadLimit(4, 1e-9), SpreadLimit(4, 1e-8))
}

func TestUniformDrawsStayBelowTheLimit(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	limit, over := SpreadLimit(4, 0.01), 0
	for range 2000 {
		counts := make([]int, 4)
		for range 1000 {
			counts[draw.IntN(4)]++
		}
		if SpreadOf(counts) > limit {
			over++
		}
	}
	require.InDelta(t, 20, over, 20, "1 in 100 is expected over the limit")
}
