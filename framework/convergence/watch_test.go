package convergence

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// asking is an end whose agent polls each address, and answers by what is said of that moment since its polling began.
func asking(t *testing.T, answers map[string]func(after time.Duration) bool) *requirement.End {
	began, next := map[string]time.Time{}, map[string]int{}
	agent := probe.New("fake", fakeagent.Answer(func(op wire.Op, args json.RawMessage) any {
		var q wire.Poll
		if op != wire.OpPoll || json.Unmarshal(args, &q) != nil {
			return nil
		}
		if q.Do == wire.PollBegin {
			began[q.Connect.Address] = time.Now()
			return wire.PollResult{Handle: q.Connect.Address}
		}
		time.Sleep(10 * ms) // of the bubble's time
		got := wire.PollResult{Now: time.Since(began[q.Handle]).Microseconds()}
		for n := next[q.Handle]; ; n++ {
			at := time.Duration(n) * every
			if at > time.Since(began[q.Handle])-ms {
				break
			}
			next[q.Handle] = n + 1
			sample := wire.PollSample{N: n, At: at.Microseconds(), Took: 1000, Errno: wire.Errno{Class: wire.Refused}}
			if answers[q.Handle](at) {
				sample.Errno, sample.Who, sample.Same = wire.Errno{}, "server", true
			}
			got.Samples = append(got.Samples, sample)
		}
		return got
	}))
	t.Cleanup(func() { _ = agent.Close() })
	return &requirement.End{Agent: agent, Role: "client", Node: "n", Pod: "client"}
}

func TestSilenceCountsBesideWhatAnswers(t *testing.T) {
	const service, pod = "10.96.0.1:80", "10.0.0.2:8080"
	from := func(d time.Duration) func(time.Duration) bool {
		return func(after time.Duration) bool { return after >= d }
	}
	always, never := from(0), from(time.Hour)
	for name, c := range map[string]struct {
		service, pod func(time.Duration) bool
		reason       requirement.Reason
		atLeast      time.Duration
	}{
		"nobody answers, and the client hears another":        {service: never, pod: always},
		"the client hears nothing":                            {service: never, pod: never, reason: requirement.Refused},
		"the client hears nothing at first":                   {service: never, pod: from(time.Second), atLeast: time.Second},
		"somebody answers, and the client hears another":      {service: always, pod: always, reason: requirement.Answered},
		"somebody answers, and the client hears nothing else": {service: always, pod: never, reason: requirement.Answered},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				env := &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}}
				defer func() { require.NoError(t, env.CleanUp(t.Context())) }()
				watch := Begin(ctx, env, Client{From: asking(t, map[string]func(time.Duration) bool{service: c.service, pod: c.pod}), Network: "tcp", Dial: service})
				begun := time.Now()
				err := watch.Change(ctx, Expect{What: "a Service is deleted", Within: time.Minute, Beside: func(Client) (string, error) { return pod, nil }},
					func(context.Context) (time.Time, error) { return time.Time{}, nil })
				require.GreaterOrEqual(t, time.Since(begun), c.atLeast)
				if c.reason == "" {
					require.NoError(t, err)
					return
				}
				f := requirement.AsFailure(err)
				require.NotNil(t, f, "%v", err)
				require.Equal(t, c.reason, f.Reason, f)
				if c.reason == requirement.Refused {
					require.Equal(t, "an answer at 10.0.0.2:8080 all along, beside which silence at 10.96.0.1:80 is judged", f.Expected)
				}
			})
		})
	}
}

func TestSilenceBesideNothingIsNotJudged(t *testing.T) {
	env := &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}}
	changed := false
	err := Begin(t.Context(), env).Change(t.Context(), Expect{What: "a Service is deleted", Within: time.Minute},
		func(context.Context) (time.Time, error) { changed = true; return time.Time{}, nil })
	require.ErrorContains(t, err, "nothing is asked beside it")
	require.False(t, changed)
}
