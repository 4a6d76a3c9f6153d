package until

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSettled(t *testing.T) {
	bad := errors.New("not right")
	for name, c := range map[string]struct {
		policy   Policy
		sees     []error // the last one repeats
		attempts int
		err      error
	}{
		"at once":                     {Policy{}, []error{nil}, 1, nil},
		"a single attempt":            {Policy{}, []error{bad, nil}, 1, bad},
		"after two":                   {Policy{Within: time.Minute, Every: 1}, []error{bad, bad, nil}, 3, nil},
		"three in a row":              {Policy{Within: time.Minute, Every: 1, Consecutive: 3}, []error{nil, nil, bad, nil, nil, nil}, 6, nil},
		"a failure starts over":       {Policy{Within: time.Minute, Every: 1, Consecutive: 2}, []error{nil, bad, nil, nil}, 4, nil},
		"consecutive but no patience": {Policy{Consecutive: 2}, []error{nil, bad}, 2, bad},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			seen, err := Settled(context.Background(), c.policy, func(context.Context) error {
				n++
				return c.sees[min(n, len(c.sees))-1]
			})
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.attempts, seen.Attempts)
		})
	}
}

func TestSettledGoesOnForAsLongAsWhatIsSeenMayLast(t *testing.T) {
	bad := errors.New("cached")
	attempts, within := 0, time.Duration(0)
	longer := func() time.Duration { return within }
	seen, err := Settled(t.Context(), Policy{Every: 1, Longer: longer}, func(context.Context) error {
		if attempts++; attempts == 1 {
			within = time.Minute
		}
		if attempts < 4 {
			return bad
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 4, seen.Attempts)

	within = 0
	seen, err = Settled(t.Context(), Policy{Every: 1, Longer: longer}, func(context.Context) error { return bad })
	require.ErrorIs(t, err, bad)
	require.Equal(t, 1, seen.Attempts)
}

func TestSettledKeepsTheLastObservationWhenTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	bad := errors.New("refused")
	_, err := Settled(ctx, Policy{Within: time.Hour, Every: time.Hour}, func(context.Context) error {
		cancel()
		return bad
	})
	require.ErrorIs(t, err, bad)
}

func TestSettledEndsWithWhatIsFinal(t *testing.T) {
	changed, n := errors.New("other bytes"), 0
	seen, err := Settled(t.Context(), Policy{Within: time.Hour, Every: 1}, func(context.Context) error {
		if n++; n == 1 {
			return errors.New("refused")
		}
		return Final(changed)
	})
	require.ErrorIs(t, err, changed)
	require.Equal(t, 2, seen.Attempts)
}
