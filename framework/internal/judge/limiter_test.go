package judge

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimiterGoesByPlace(t *testing.T) {
	limiter := newLimiter(1)
	limiter.acquire(0)
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for _, place := range []int{3, 1, 2} {
		wg.Go(func() {
			limiter.acquire(place)
			mu.Lock()
			order = append(order, place)
			mu.Unlock()
			limiter.release()
		})
	}
	require.Eventually(t, func() bool {
		limiter.mu.Lock()
		defer limiter.mu.Unlock()
		return len(limiter.waiting) == 3
	}, time.Minute, time.Millisecond)
	limiter.release()
	wg.Wait()
	require.Equal(t, []int{1, 2, 3}, order)
}

func TestLimiterAllowsMoreAndFewer(t *testing.T) {
	limiter := newLimiter(1)
	began := make(chan int)
	for place := range 4 {
		go func() {
			limiter.acquire(place)
			began <- place
		}()
		require.Eventually(t, func() bool {
			limiter.mu.Lock()
			defer limiter.mu.Unlock()
			return len(limiter.waiting)+limiter.running == place+1
		}, time.Minute, time.Millisecond)
	}
	require.Equal(t, 0, <-began)
	limiter.setLimit(2)
	require.Equal(t, 1, <-began)
	limiter.setLimit(1)
	limiter.release()
	require.Equal(t, 1, limiter.running)
	require.Len(t, limiter.waiting, 2)
	limiter.release()
	require.Equal(t, 2, <-began)
	limiter.release()
	require.Equal(t, 3, <-began)
}
