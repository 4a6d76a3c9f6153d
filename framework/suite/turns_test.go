package suite

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTurnsGoByPlace(t *testing.T) {
	turns := newTurns(1)
	turns.take(0)
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for _, place := range []int{3, 1, 2} {
		wg.Go(func() {
			turns.take(place)
			mu.Lock()
			order = append(order, place)
			mu.Unlock()
			turns.give()
		})
	}
	require.Eventually(t, func() bool {
		turns.mu.Lock()
		defer turns.mu.Unlock()
		return len(turns.waiting) == 3
	}, time.Minute, time.Millisecond)
	turns.give()
	wg.Wait()
	require.Equal(t, []int{1, 2, 3}, order)
}

func TestTurnsAllowMoreAndFewer(t *testing.T) {
	turns := newTurns(1)
	began := make(chan int)
	for place := range 4 {
		go func() {
			turns.take(place)
			began <- place
		}()
		require.Eventually(t, func() bool {
			turns.mu.Lock()
			defer turns.mu.Unlock()
			return len(turns.waiting)+turns.taken == place+1
		}, time.Minute, time.Millisecond)
	}
	require.Equal(t, 0, <-began)
	turns.allow(2)
	require.Equal(t, 1, <-began)
	turns.allow(1)
	turns.give()
	require.Equal(t, 1, turns.taken)
	require.Len(t, turns.waiting, 2)
	turns.give()
	require.Equal(t, 2, <-began)
	turns.give()
	require.Equal(t, 3, <-began)
}
