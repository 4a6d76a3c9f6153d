package requirement

import (
	"context"
	"time"

	"github.com/parley-k8s/parley/framework/until"
)

// Until observes until it is right, within the patience in force; the failure that comes back says
// how often and how long. What settled only after some attempts is noted.
func (e *Env) Until(ctx context.Context, observe func(context.Context) error) error {
	return e.UntilAtLeast(ctx, 0, observe)
}

// UntilAtLeast is Until with at least that much patience, where there is any: for what follows a change more slowly than the rest.
func (e *Env) UntilAtLeast(ctx context.Context, patience time.Duration, observe func(context.Context) error) error {
	within := e.Patience
	if within > 0 {
		within = max(within, patience)
	}
	seen, err := until.Settled(ctx, until.Policy{Within: within}, observe)
	if err == nil {
		if seen.Attempts > 1 {
			e.Note("held on attempt %d, after %s", seen.Attempts, seen.Took.Round(time.Millisecond))
		}
		return nil
	}
	if f := AsFailure(err); f != nil {
		f.Attempts, f.Took = seen.Attempts, seen.Took
		return f
	}
	return err
}
