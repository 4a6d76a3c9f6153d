package judge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPaceFollowsTheNodes(t *testing.T) {
	far := 100 * time.Millisecond // a cluster far away
	for name, c := range map[string]struct {
		now  load
		want int
	}{
		"calm":                      {load{1, far}, atMost},
		"neither":                   {load{calmRunnable + 1, far}, atFirst},
		"many that wait":            {load{busyRunnable + 1, far}, atLeast},
		"slow to answer":            {load{1, far + busyAnswer + 1}, atLeast},
		"somewhat slow to answer":   {load{1, far + calmAnswer}, atFirst + 1},
		"nothing known but answers": {load{0, far}, atMost},
	} {
		t.Run(name, func(t *testing.T) {
			p := pace{least: atLeast}
			p.next(load{c.now.runnable, far})
			for range 30 {
				p.next(c.now)
			}
			require.Equal(t, c.want, p.limit)
			require.Equal(t, c.want == atLeast, p.busy)
		})
	}
}

func TestRunnable(t *testing.T) {
	for text, want := range map[string]int{
		"61.47 35.45 27.34 74/2248 29589\n": 74,
		"0.00 0.00 0.00 0/0 0":              0,
		"":                                  0,
		"a b c d/e":                         0,
		"1 2 3 -5/9 1":                      0,
	} {
		require.Equal(t, want, runnable(text), text)
	}
}

func TestBusySince(t *testing.T) {
	begun := time.Now()
	l := &busy{}
	require.False(t, l.since(begun), "never busy")
	l.note(begun.Add(-time.Second))
	require.False(t, l.since(begun), "busy before")
	l.note(begun.Add(time.Second))
	require.True(t, l.since(begun))
}
