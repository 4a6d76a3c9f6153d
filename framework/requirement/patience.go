package requirement

import (
	"context"
	"slices"
	"time"

	"github.com/parley-k8s/parley/framework/until"
)

// LateHold is something that held on a later attempt than the first: patience forgave what the first attempt saw.
type LateHold struct {
	Attempts int           // 2 or more
	Took     time.Duration // from the first attempt to the one that held
	First    string        // what the first attempt saw
}

// LateHolds are what held late so far.
func (e *Env) LateHolds() []LateHold {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.late)
}

func (e *Env) holdLate(h LateHold) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.late = append(e.late, h)
}

// observed is what was seen in place of what was due, of a failure; of any other error what it says.
func observed(err error) string {
	if f := AsFailure(err); f != nil && f.Observed != "" {
		return f.Observed
	}
	return err.Error()
}

// Until observes until it is right, within the patience in force; the failure that comes back says
// how often and how long. What settled only after some attempts is noted.
func (e *Env) Until(ctx context.Context, observe func(context.Context) error) error {
	return e.UntilAtLeast(ctx, 0, observe)
}

// UntilAtLeast is Until with at least that much patience, where there is any: for what follows a change more slowly than the rest.
func (e *Env) UntilAtLeast(ctx context.Context, patience time.Duration, observe func(context.Context) error) error {
	return e.UntilLonger(ctx, func() time.Duration { return patience }, observe)
}

// UntilLonger is Until with at least the patience that longer gives, where there is any. It is asked after each attempt: what was
// seen may tell for how long it can last, such as the TTL of an answer that a resolver keeps.
func (e *Env) UntilLonger(ctx context.Context, longer func() time.Duration, observe func(context.Context) error) error {
	policy := until.Policy{Within: e.Patience}
	if e.Patience > 0 {
		policy.Longer = longer
	}
	first := ""
	seen, err := until.Settled(ctx, policy, func(ctx context.Context) error {
		err := observe(ctx)
		if first == "" && err != nil {
			first = observed(err)
		}
		return err
	})
	if err == nil {
		if seen.Attempts > 1 {
			e.Note("held on attempt %d, after %s", seen.Attempts, seen.Took.Round(time.Millisecond))
			e.holdLate(LateHold{Attempts: seen.Attempts, Took: seen.Took, First: first})
		}
		return nil
	}
	if f := AsFailure(err); f != nil {
		f.Attempts, f.Took = seen.Attempts, seen.Took
		return f
	}
	return err
}
