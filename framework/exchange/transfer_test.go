package exchange

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// carrying is an end whose agent opens one connection and says of each piece on it what the function does.
func carrying(t *testing.T, piece func(n int) wire.Exchange) *requirement.End {
	n := 0
	agent := probe.New("fake", fakeagent.Answer(func(op wire.Op, args json.RawMessage) any {
		var c wire.Connect
		if op != wire.OpConnect || json.Unmarshal(args, &c) != nil {
			return wire.Errno{}
		}
		if c.KeepOpen {
			opened := worked()
			opened.Handle = "1"
			return wire.Connected{Seen: []wire.Exchange{opened}}
		}
		assert.Equal(t, []any{"1", int(stallAfter.Milliseconds())}, []any{c.Reuse, c.Stall})
		n++
		return wire.Connected{Seen: []wire.Exchange{piece(n)}}
	}))
	t.Cleanup(func() { _ = agent.Close() })
	return &requirement.End{Agent: agent, Role: "client"}
}

func TestTransfer(t *testing.T) {
	changed := wire.Exchange{Errno: wire.Errno{Class: wire.Other, Text: "other bytes"}, Step: wire.StepCompare, Witness: worked().Witness}
	stalled := wire.Exchange{Errno: wire.Errno{Class: wire.TimedOut, Text: "write: nothing passed for 10s"}, Step: "write"}
	at := func(which map[int]wire.Exchange) func(int) wire.Exchange {
		return func(n int) wire.Exchange {
			if x, ok := which[n]; ok {
				return x
			}
			return worked()
		}
	}
	for name, c := range map[string]struct {
		piece    func(int) wire.Exchange
		bytes    int
		reason   requirement.Reason
		final    string
		observed string
	}{
		"it arrives": {piece: at(nil), bytes: 64 << 20},
		"one piece changed": {piece: at(map[int]wire.Exchange{3: changed}), bytes: 64 << 20, reason: requirement.Broken, final: requirement.ChangedIsFinal,
			observed: "1 of 16 pieces of up to 4 MiB with other bytes than were sent"},
		"the first and the last changed": {piece: at(map[int]wire.Exchange{1: changed, 16: changed}), bytes: 64 << 20, reason: requirement.Broken, final: requirement.ChangedIsFinal,
			observed: "2 of 16 pieces of up to 4 MiB with other bytes than were sent"},
		"it stands still": {piece: at(map[int]wire.Exchange{4: stalled}), bytes: 64 << 20, reason: requirement.NoAnswer,
			observed: "timed out (write: nothing passed for 10s) at write, after 32 bytes and 12 MiB had passed on it"},
	} {
		t.Run(name, func(t *testing.T) {
			env := &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}, Attempt: time.Second, Patience: time.Minute}
			done, err := Transfer(t.Context(), env, Talk{From: carrying(t, c.piece), To: near, Network: "tcp", Dial: "10.0.0.2:8080", Digest: true}, c.bytes)
			if c.reason == "" {
				require.NoError(t, err)
				require.Equal(t, c.bytes, done.Bytes)
				return
			}
			f := requirement.AsFailure(err)
			require.NotNil(t, f, "%v", err)
			require.Equal(t, []any{c.reason, c.final, c.observed}, []any{f.Reason, f.Final, f.Observed})
		})
	}
}

func TestTransferredSaysItsRate(t *testing.T) {
	require.Equal(t, "64 MiB at 640 MiB/s", Transferred{64 << 20, 100 * time.Millisecond}.String())
	require.Equal(t, "4 MiB at 0.1 MiB/s", Transferred{4 << 20, 30 * time.Second}.String())
}

func TestTransferByARealAgent(t *testing.T) {
	end, env := local(t)
	at := freePort(t, end)
	talk := Talk{From: end, To: end, Network: "tcp", Bind: at, Digest: true}
	done, err := Transfer(t.Context(), env, talk, 10<<20)
	require.NoError(t, err)
	require.Equal(t, 10<<20, done.Bytes)

	env.Patience = time.Second
	server, err := end.Listen(t.Context(), wire.Listen{Network: "tcp", Address: "127.0.0.1:0", Behave: "digest"})
	require.NoError(t, err)
	defer Release(t.Context(), end, server.Handle)
	relay, err := end.Listen(t.Context(), wire.Listen{Network: "tcp", Address: "127.0.0.1:0", Behave: "relay", Target: server.Local})
	require.NoError(t, err)
	require.True(t, relay.Ok(), relay.Errno)
	defer Release(t.Context(), end, relay.Handle)
	_, err = Transfer(t.Context(), env, Talk{From: end, To: end, Network: "tcp", Dial: relay.Local, Digest: true}, 12<<20)
	f := requirement.AsFailure(err)
	require.NotNil(t, f, "%v", err)
	require.Equal(t, requirement.Broken, f.Reason)
	require.Equal(t, "3 of 3 pieces of up to 4 MiB with other bytes than were sent", f.Observed)
}
