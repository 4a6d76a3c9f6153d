package requirement

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPatienceIsForWhatIsStillBecoming(t *testing.T) {
	changed := Failure{Reason: Broken, Final: ChangedIsFinal}
	for name, c := range map[string]struct {
		first               error
		steady, convergence bool // whether a right attempt after it makes Until, and Converges, green
		final               string
	}{
		"silence":         {&Failure{Reason: NoAnswer}, true, true, ""},
		"refusal":         {&Failure{Reason: Refused}, true, true, ""},
		"a reset":         {&Failure{Reason: Broken}, true, true, ""},
		"no verdict":      {errors.New("the agent is gone"), true, true, ""},
		"a wrong peer":    {&Failure{Reason: WrongPeer}, false, true, PeerIsFinal},
		"a wrong port":    {&Failure{Reason: WrongPort}, false, true, PeerIsFinal},
		"translated":      {&Failure{Reason: Translated}, false, true, PeerIsFinal},
		"changed bytes":   {&changed, false, false, ChangedIsFinal},
		"by its own word": {&Failure{Reason: WrongPeer, Final: SampleIsFinal}, false, false, SampleIsFinal},
	} {
		t.Run(name, func(t *testing.T) {
			for how, held := range map[string]bool{"Until": c.steady, "UntilAtLeast": c.steady, "Converges": c.convergence} {
				env, n := &Env{Patience: time.Minute}, 0
				observe := func(context.Context) error {
					if n++; n > 1 {
						return nil
					}
					if f := AsFailure(c.first); f != nil {
						again := *f // a failure is one attempt's
						return &again
					}
					return c.first
				}
				var err error
				switch how {
				case "Until":
					err = env.Until(t.Context(), observe)
				case "UntilAtLeast":
					err = env.UntilAtLeast(t.Context(), time.Hour, observe)
				default:
					err = env.Converges(t.Context(), observe)
				}
				if held {
					require.NoError(t, err, how)
					require.Len(t, env.LateHolds(), 1, how)
					continue
				}
				f := AsFailure(err)
				require.NotNil(t, f, how)
				require.Equal(t, 1, n, "%s: it is not tried again", how)
				require.Equal(t, 1, f.Attempts, how)
				require.Equal(t, c.final, f.Final, how)
				require.Empty(t, env.LateHolds(), how)
			}
		})
	}
}

func TestWhyFinal(t *testing.T) {
	direct := &Failure{Reason: Translated}
	require.Equal(t, PeerIsFinal, direct.WhyFinal(), "seen once, of what nobody changes")
	require.Empty(t, (&Failure{Reason: NoAnswer}).WhyFinal())
	require.Equal(t, SampleIsFinal, (&Failure{Reason: Uneven, Final: SampleIsFinal}).WhyFinal())

	err := (&Env{}).Converges(t.Context(), func(context.Context) error { return &Failure{Reason: WrongPeer} })
	require.Empty(t, AsFailure(err).WhyFinal(), "a change that is late may be the machine's doing")
	err = (&Env{}).Until(t.Context(), func(context.Context) error { return &Failure{Reason: WrongPeer} })
	require.Equal(t, PeerIsFinal, AsFailure(err).WhyFinal())
}

func TestManyFailuresInARowAreFinal(t *testing.T) {
	require.Equal(t, RowIsFinal, finalInARow(inARow, true))
	require.Empty(t, finalInARow(inARow-1, true), "a machine that is so busy that it bears few attempts")
	require.Empty(t, finalInARow(inARow, false), "a change of the check's own may be late")
	env := &Env{}
	require.True(t, env.steady())
	env.Defer(func(context.Context) error { return nil })
	require.False(t, env.steady(), "it has made something")
}

func TestWhatCrossesAWayThatIsKnownToCarryNothingIsNotWaitedFor(t *testing.T) {
	for name, dead := range map[string]bool{"known": true, "another way": false} {
		t.Run(name, func(t *testing.T) {
			n := 0
			env := &Env{Patience: time.Minute, Attempt: time.Millisecond, Explained: func(f *Failure) bool { return dead && f.Reason == NoAnswer }}
			err := env.Converges(t.Context(), func(context.Context) error {
				if n++; n > 4 {
					return nil
				}
				return &Failure{Reason: NoAnswer}
			})
			if !dead {
				require.NoError(t, err)
				return
			}
			require.Equal(t, KnownIsFinal, AsFailure(err).WhyFinal())
			require.Less(t, n, 4)
		})
	}
}
