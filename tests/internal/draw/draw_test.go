package draw

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

var (
	client = &requirement.End{Role: "client", Namespace: "ns", Pod: "client", Container: "c", Node: "n1"}
	ends   = []*requirement.End{{Role: "replica", Pod: "a", Node: "n1"}, {Role: "replica", Pod: "b", Node: "n1"}}
)

// sample has those answers, and as many that timed out or came back changed.
func sample(peers map[string]int, lost, changed int) Sample {
	s := Sample{Client: client, Target: "10.96.0.1:80", Protocol: "udp", Peers: peers, Changed: changed,
		Tally: map[wire.Class]int{wire.TimedOut: lost, wire.Other: changed}}
	for _, n := range peers {
		s.Count += n
	}
	s.Tally[wire.OK] = s.Count - changed
	s.Count += lost
	return s
}

func TestAmong(t *testing.T) {
	for name, c := range map[string]struct {
		sample   Sample
		reason   requirement.Reason
		final    string
		observed string
	}{
		"all by the two":         {sample: sample(map[string]int{"a": 200, "b": 205}, 0, 0)},
		"few lost":               {sample: sample(map[string]int{"a": 200, "b": 197}, 8, 0)},
		"one elsewhere":          {sample(map[string]int{"a": 200, "b": 204, "c": 1}, 0, 0), requirement.WrongPeer, requirement.SampleIsFinal, "1 of 405 by others: a 200, b 204, c 1"},
		"elsewhere, and lost":    {sample(map[string]int{"a": 100, "c": 1}, 200, 0), requirement.WrongPeer, requirement.SampleIsFinal, "1 of 101 by others: a 100, c 1"},
		"one changed":            {sample(map[string]int{"a": 200, "b": 205}, 0, 1), requirement.Broken, requirement.ChangedIsFinal, "other bytes in 1 of them"},
		"many lost":              {sample(map[string]int{"a": 200, "b": 185}, 20, 0), requirement.NoAnswer, "", `20 that ended as "timed out", and a 200, b 185`},
		"all to one lost":        {sample(map[string]int{"a": 200}, 205, 0), requirement.NoAnswer, "", `205 that ended as "timed out", and a 200; never b on n1`},
		"nothing answered":       {sample(nil, 405, 0), requirement.NoAnswer, "", `405 that ended as "timed out", and nobody answering; never a on n1`},
		"one and it is lost":     {sample(nil, 1, 0), requirement.NoAnswer, "", `1 that ended as "timed out", and nobody answering; never a on n1`},
		"a few, one of them not": {sample(map[string]int{"a": 28}, 1, 0), "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.sample.Among(ends, 6)
			if c.reason == "" {
				require.NoError(t, err)
				return
			}
			f := requirement.AsFailure(err)
			require.NotNil(t, f)
			require.Equal(t, []any{c.reason, c.final, c.observed, c.sample.Count}, []any{f.Reason, f.WhyFinal(), f.Observed, f.Attempts})
		})
	}
}

func TestEachAndOne(t *testing.T) {
	both, one := sample(map[string]int{"a": 3, "b": 2}, 0, 0), sample(map[string]int{"a": 5}, 0, 0)
	require.NoError(t, both.Each(ends))
	f := requirement.AsFailure(one.Each(ends))
	require.Equal(t, []any{requirement.WrongPeer, requirement.SampleIsFinal, ends[1]}, []any{f.Reason, f.Final, f.To})
	require.NoError(t, one.One())
	both.Over, both.Moves = 10*time.Second, 4
	f = requirement.AsFailure(both.One())
	require.Equal(t, []any{requirement.WrongPeer, requirement.SampleIsFinal, "another than before 4 times: a 3, b 2"}, []any{f.Reason, f.Final, f.Observed})
	require.Contains(t, f.Expected, "over 10s")
}

// A leak of one in twenty past what must keep it: a sample of 40 that is drawn again until it is well hides it each time within 20 s, one of
// this size that is judged once shows it.
func TestALeakIsSeen(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	leaking := func(count int) Sample {
		peers := map[string]int{}
		for range count {
			if random.Float64() < LeakShare {
				peers["c"]++
			} else {
				peers[[]string{"a", "b"}[random.IntN(2)]]++
			}
		}
		return sample(peers, 0, 0)
	}
	hidden, hiddenAgain := 0, 0
	for range 1000 {
		for try := range 100 {
			if leaking(40).Among(ends, 1) != nil {
				continue
			}
			if hiddenAgain++; try == 0 {
				hidden++
			}
			break
		}
	}
	require.InDelta(t, 130, hidden, 40, "13 % at once")
	require.Greater(t, hiddenAgain, 995, "and always at last")
	for range 1000 {
		require.Error(t, leaking(Leaks()).Among(ends, 1))
	}
}

func local(t *testing.T) (*requirement.End, *requirement.Env) {
	dialer, stop, err := probe.Local("a key")
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	agent := probe.New(host, dialer)
	t.Cleanup(func() {
		_ = agent.Close() // it ends with its agent
		stop()
	})
	return &requirement.End{Agent: agent, Role: "local", Pod: host}, &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}, Family: corev1.IPv4Protocol,
		Attempt: time.Second, Patience: time.Second}
}

func TestSamplesOfARealAgent(t *testing.T) {
	end, env := local(t)
	server, err := end.Listen(t.Context(), wire.Listen{Network: "tcp", Address: "127.0.0.1:0"})
	require.NoError(t, err)
	defer exchange.Release(t.Context(), end, server.Handle)
	from := Source{Env: env, Client: end, Protocol: "tcp", Target: server.Local}
	require.NoError(t, from.Converged(t.Context(), end))
	s, seen, err := from.TakeSeen(t.Context(), Leaks())
	require.NoError(t, err)
	require.Len(t, seen, 405)
	require.NoError(t, s.Among([]*requirement.End{end}, 1))
	require.Empty(t, s.Unanswered())

	s, err = from.TakeOver(t.Context(), exchange.Pace{Every: 2 * time.Millisecond, For: time.Second})
	require.NoError(t, err)
	require.NoError(t, s.One())
	_, err = from.TakeOver(t.Context(), exchange.Pace{Every: 200 * time.Millisecond, For: time.Second})
	require.ErrorContains(t, err, "too few to judge by")
}

func TestKnownTellsSilenceFromAnotherChoice(t *testing.T) {
	lost := requirement.AsFailure(sample(map[string]int{"a": 20}, 9, 0).lostBut(ends))
	require.Equal(t, []any{requirement.NoAnswer, "", ends[1], `9 that ended as "timed out", and a 20; never b on n1`}, []any{lost.Reason, lost.WhyFinal(), lost.To, lost.Observed})
}

func TestKnownWaitsForEach(t *testing.T) {
	end, env := local(t)
	server, err := end.Listen(t.Context(), wire.Listen{Network: "tcp", Address: "127.0.0.1:0"})
	require.NoError(t, err)
	from := Source{Env: env, Client: end, Protocol: "tcp", Target: server.Local}
	err = from.Known(t.Context(), end, ends[1])
	f := requirement.AsFailure(err)
	require.NotNil(t, f, "%v", err)
	require.Equal(t, []any{requirement.WrongPeer, "", ends[1]}, []any{f.Reason, f.WhyFinal(), f.To})
	require.GreaterOrEqual(t, f.Took, time.Second, "within the patience")

	env.Patience = 0
	require.NoError(t, from.Known(t.Context(), end, ends[1]), "a control is not about that")
	env.Patience = time.Second
	exchange.Release(t.Context(), end, server.Handle)
	f = requirement.AsFailure(from.Known(t.Context(), end))
	require.NotNil(t, f)
	require.Equal(t, requirement.Refused, f.Reason)
}
