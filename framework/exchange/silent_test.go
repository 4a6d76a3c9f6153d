package exchange

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// dialling is an end whose agent answers each address by what its function says of the n-th question to it.
func dialling(t *testing.T, answers map[string]func(n int) wire.Exchange) *requirement.End {
	var mu sync.Mutex
	asked := map[string]int{}
	agent := probe.New("fake", fakeagent.Answer(func(_ wire.Op, args json.RawMessage) any {
		var c wire.Connect
		if err := json.Unmarshal(args, &c); err != nil {
			return wire.Connected{}
		}
		mu.Lock()
		defer mu.Unlock()
		asked[c.Address]++
		return wire.Connected{Seen: []wire.Exchange{answers[c.Address](asked[c.Address])}}
	}))
	t.Cleanup(func() { _ = agent.Close() })
	return &requirement.End{Agent: agent, Role: "client", Namespace: "ns", Pod: "client", Container: "c"}
}

func TestSilenceIsSeveralAttemptsBesideOneThatIsHeard(t *testing.T) {
	t.Parallel()
	lost := wire.Exchange{Errno: wire.Errno{Class: wire.TimedOut}, Step: "read"}
	refused := wire.Exchange{Errno: wire.Errno{Class: wire.Refused}, Step: "dial"}
	const at, beside = "10.0.0.2:80", "10.0.0.2:81"
	always := func(x wire.Exchange) func(int) wire.Exchange { return func(int) wire.Exchange { return x } }
	except := func(from, to int, x, y wire.Exchange) func(int) wire.Exchange {
		return func(n int) wire.Exchange {
			if n >= from && n <= to {
				return x
			}
			return y
		}
	}
	stranger := wire.Exchange{Errno: wire.Errno{Class: wire.Other, Text: "no witness"}, Step: wire.StepCompare}
	knocked := wire.Exchange{Local: "10.0.0.1:40000", Remote: at} // a connection and no exchange
	for name, c := range map[string]struct {
		answers    func(n int) wire.Exchange // at
		heard      func(n int) wire.Exchange
		converging bool
		knock      bool
		reason     requirement.Reason
		final      bool
		attempts   int
	}{
		"silence":                                     {answers: always(lost), heard: always(worked())},
		"refusal":                                     {answers: always(refused), heard: always(worked())},
		"an answer":                                   {answers: always(worked()), heard: always(worked()), reason: requirement.Answered, final: true, attempts: 1},
		"an answer after one that was lost":           {answers: except(1, 1, lost, worked()), heard: always(worked()), reason: requirement.Answered, final: true, attempts: 1},
		"an answer among four that were lost":         {answers: except(5, 5, worked(), lost), heard: always(worked()), reason: requirement.Answered, final: true, attempts: 1},
		"an answer by no agent":                       {answers: always(stranger), heard: always(worked()), reason: requirement.Answered, final: true, attempts: 1},
		"an answer while nothing else is heard":       {answers: always(worked()), heard: always(lost), reason: requirement.Answered, final: true, attempts: 1},
		"answers of before, while it converges":       {answers: except(1, 7, worked(), lost), heard: always(worked()), converging: true},
		"a port that is closed":                       {answers: always(refused), heard: always(knocked), knock: true},
		"a port that takes a connection":              {answers: always(knocked), heard: always(knocked), knock: true, reason: requirement.Answered, final: true, attempts: 1},
		"a port that was closed and takes one":        {answers: except(5, 5, knocked, refused), heard: always(knocked), knock: true, reason: requirement.Answered, final: true, attempts: 1},
		"a port that took one and is closed":          {answers: except(1, 1, knocked, refused), heard: always(knocked), knock: true, reason: requirement.Answered, final: true, attempts: 1},
		"a port whose node takes no connection":       {answers: always(lost), heard: always(lost), knock: true, reason: requirement.NoAnswer, attempts: 2},
		"silence where nothing would be heard":        {answers: always(lost), heard: always(lost), reason: requirement.NoAnswer, attempts: 2},
		"silence at a moment where nothing was heard": {answers: always(lost), heard: except(1, 1, lost, worked())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}, Attempt: time.Second, Patience: time.Second}
			if c.converging {
				env.Patience = time.Minute
			}
			from := dialling(t, map[string]func(int) wire.Exchange{at: c.answers, beside: c.heard})
			_, err := Silent(t.Context(), env, Talk{From: from, Network: "udp", Dial: at, Converging: c.converging, Knock: c.knock},
				Talk{From: from, To: near, Network: "udp", Dial: beside, Knock: c.knock}, "a node without an endpoint")
			if c.reason == "" {
				require.NoError(t, err)
				return
			}
			f := requirement.AsFailure(err)
			require.NotNil(t, f, "%v", err)
			require.Equal(t, c.reason, f.Reason)
			require.Equal(t, c.final, f.Final == requirement.AnswerIsFinal)
			require.Equal(t, c.attempts, f.Attempts)
			require.NotEmpty(t, f.Again)
		})
	}
}

func TestAnAttemptThatWasNotMadeIsNoSilence(t *testing.T) {
	env := &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}, Attempt: time.Second}
	from := dialling(t, map[string]func(int) wire.Exchange{
		"10.0.0.2:80": func(int) wire.Exchange { return wire.Exchange{Errno: wire.Errno{Class: wire.InUse}, Step: "bind"} },
		"10.0.0.2:81": func(int) wire.Exchange { return worked() },
	})
	_, err := Silent(t.Context(), env, Talk{From: from, Network: "udp", Dial: "10.0.0.2:80", Source: ":20000"}, Talk{From: from, To: near, Network: "udp", Dial: "10.0.0.2:81"}, "")
	require.ErrorContains(t, err, "could not dial 10.0.0.2:80")
	require.Nil(t, requirement.AsFailure(err))
}
