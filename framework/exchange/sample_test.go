package exchange

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

func TestSampledCountsInTheirOrder(t *testing.T) {
	q := func(n int, who string, class wire.Class) wire.PollSample {
		return wire.PollSample{N: n, At: int64(n) * 1000, Who: who, Errno: wire.Errno{Class: class}, Same: class == wire.OK}
	}
	changed := q(4, "a", wire.Other)
	changed.Changed = true
	s := sampled([]wire.PollSample{q(1, "a", ""), q(0, "a", ""), q(3, "b", ""), q(2, "", wire.TimedOut), changed, q(5, "a", "")})
	require.Equal(t, Sampled{Count: 6, Took: 5 * time.Millisecond, Peers: map[string]int{"a": 4, "b": 1},
		Tally: map[wire.Class]int{wire.OK: 4, wire.TimedOut: 1, wire.Other: 1}, Changed: 1, Moves: 2}, s)
	require.Equal(t, "a 4, b 1", s.Shares())
	require.Equal(t, "nobody answering", Sampled{}.Shares())
}

func TestSampleByARealAgent(t *testing.T) {
	end, env := local(t)
	server, err := end.Listen(t.Context(), wire.Listen{Network: "udp", Address: "127.0.0.1:0"})
	require.NoError(t, err)
	defer Release(t.Context(), end, server.Handle)
	talk := Talk{From: end, Network: "udp", Dial: server.Local}
	s, err := Sample(t.Context(), env, talk, Pace{Every: 5 * time.Millisecond, For: time.Second}, nil)
	require.NoError(t, err)
	require.Equal(t, s.Count, s.Peers[end.Name()])
	require.Greater(t, s.Count, 50)
	require.GreaterOrEqual(t, s.Took, 900*time.Millisecond, "it is spread over the time")

	begun := time.Now()
	_, err = Sample(t.Context(), env, talk, Pace{Every: 5 * time.Millisecond, For: time.Minute}, func(s Sampled) bool { return s.Count > 10 })
	require.NoError(t, err)
	require.Less(t, time.Since(begun), 20*time.Second)
}
