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

func TestDrawsToMeet(t *testing.T) {
	require.Equal(t, 405, DrawsToMeet(0.05, 1e-9)) // 0.95^405 = 9.5e-10
	require.Equal(t, 30, DrawsToMeet(0.5, 1e-9))   // 0.5^30 = 9.3e-10
	draw := rand.New(rand.NewPCG(5, 6))
	missed := 0
	for range 10000 {
		met := false
		for range DrawsToMeet(0.05, 0.01) {
			met = met || draw.Float64() < 0.05
		}
		if !met {
			missed++
		}
	}
	require.InDelta(t, 95, missed, 40, "1 in 100 is expected to be missed")
}

func TestLossLimit(t *testing.T) {
	require.Zero(t, LossLimit(0, 0.001, 1e-9))
	require.Zero(t, LossLimit(1000, 0, 1e-9))
	require.Equal(t, 3, LossLimit(3, 0.5, 1e-9), "all of them")
	limit := LossLimit(405, 0.001, 1e-9)
	require.Equal(t, 8, limit)
	require.Less(t, 1-LossMiss(405, limit, 0.001), 1e-9)
	require.Greater(t, 1-LossMiss(405, limit-1, 0.001), 1e-9, "it is the least of such limits")
	require.InDelta(t, 0.002, LossMiss(405, limit, 0.05), 0.001)
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

// What service/spreads says of itself: an endpoint of four that gets half of its share is seen by 2,000 draws.
func TestUnevenDrawsExceedTheLimit(t *testing.T) {
	draw := rand.New(rand.NewPCG(7, 8))
	limit, under := SpreadLimit(4, FalseAlarm/3), 0
	for range 20000 {
		counts := make([]int, 4)
		for range 2000 {
			if n := draw.IntN(24); n < 3 { // 3 of 24 to the first, 7 to each of the others
				counts[0]++
			} else {
				counts[1+(n-3)/7]++
			}
		}
		if SpreadOf(counts) <= limit {
			under++
		}
	}
	require.Less(t, under, 20, "under one in a thousand")
}

func TestLosses(t *testing.T) {
	l := Losses{Tolerated: 4e-5, Sought: 1e-3, Alarm: 1e-9, Miss: 0.05}
	for _, c := range []struct {
		lost, of      int
		fault, enough bool
	}{
		{0, 0, false, false},
		{0, 1000, false, false},
		{0, 3200, false, true},
		{1, 1000, false, false},
		{1, 3200, false, false},
		{1, 7000, false, true},
		{4, 100, false, false},
		{7, 200, true, true},
		{40, 1000, true, true},
	} {
		fault, enough := l.Decided(c.lost, c.of)
		require.Equal(t, [2]bool{c.fault, c.enough}, [2]bool{fault, enough}, "%d of %d", c.lost, c.of)
	}
}

// Of many that lose as much as is tolerated or sought, hardly any is taken for the other.
func TestLossesAreToldApart(t *testing.T) {
	draw := rand.New(rand.NewPCG(3, 4))
	l := Losses{Tolerated: 0.001, Sought: 0.02, Alarm: 0.001, Miss: 0.05}
	faultsOf := func(rate float64) (faults int) {
		for range 1000 {
			lost := 0
			for of := 1; ; of++ {
				if draw.Float64() < rate {
					lost++
				}
				if fault, enough := l.Decided(lost, of); enough {
					if fault {
						faults++
					}
					break
				}
			}
		}
		return faults
	}
	require.LessOrEqual(t, faultsOf(l.Tolerated), 5)
	require.GreaterOrEqual(t, faultsOf(l.Sought), 930)
}

func TestNeeded(t *testing.T) {
	l := Losses{Tolerated: 1e-4, Sought: 0.02, Alarm: 1e-9, Miss: 1e-3}
	for _, of := range []int{0, 10, 100, 300} {
		for lost := range 3 {
			if _, enough := l.Decided(lost, of); enough || lost > of {
				continue
			}
			trials, losses := l.Needed(lost, of)
			fault, enough := l.Decided(lost, of+trials)
			require.True(t, enough && !fault, "%d of %d, then %d without a loss", lost, of, trials)
			fault, enough = l.Decided(lost+losses, of+losses)
			require.True(t, enough && fault, "%d of %d, then %d losses", lost, of, losses)
			if losses > 1 {
				_, enough = l.Decided(lost+losses-1, of+losses-1)
				require.False(t, enough)
			}
		}
	}
	trials, losses := l.Needed(0, 0)
	require.Equal(t, [2]int{344, 4}, [2]int{trials, losses})
}
