package suite

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPaceFollowsTheAgents(t *testing.T) {
	var p pace
	quick, slow, between := 100*time.Millisecond, 600*time.Millisecond, 200*time.Millisecond // a far cluster
	require.Equal(t, atFirst+1, p.next(quick))
	require.Equal(t, atFirst+1, p.next(between))
	for range 20 {
		p.next(quick + calm/2)
	}
	require.Equal(t, atMost, p.limit)
	require.Equal(t, atMost*3/4, p.next(slow))
	for range 20 {
		p.next(slow)
	}
	require.Equal(t, atLeast, p.limit)
}

func TestPaceOfABusyBeginIsNoQuickest(t *testing.T) {
	var p pace
	p.next(time.Second)
	p.next(50 * time.Millisecond)
	require.Equal(t, 50*time.Millisecond, p.quickest)
	limit := p.limit
	require.Less(t, p.next(time.Second), limit)
}
