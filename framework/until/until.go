// Package until is the one place that waits. It observes again and again until what is seen is right
// for long enough or the time is up, and always gives back the last observation, so that a failure
// can say what was seen instead of "timed out".
package until

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Policy says how long to go on and what counts as settled.
type Policy struct {
	Within      time.Duration // no new attempt is begun after this; 0 is a single attempt
	Every       time.Duration // from the end of one attempt to the next; 0 is 50 ms
	Consecutive int           // right observations in a row that count as settled; 0 is 1
	// Longer, where it is not nil, is asked after each attempt that was not right: a longer time than Within takes its place, for
	// what is seen may tell for how long it can last.
	Longer func() time.Duration
}

func (p Policy) within() time.Duration {
	if p.Longer == nil {
		return p.Within
	}
	return max(p.Within, p.Longer())
}

// Seen is how an observation went.
type Seen struct {
	Attempts int
	Took     time.Duration
}

// ErrNotYet wraps the last reason why what was seen was not right.
type ErrNotYet struct {
	Seen
	Last error
}

func (e *ErrNotYet) Error() string {
	return fmt.Sprintf("%v (after %d attempts in %s)", e.Last, e.Attempts, e.Took.Round(time.Millisecond))
}

// Unwrap gives the last attempt's error.
func (e *ErrNotYet) Unwrap() error { return e.Last }

// Final marks an error of an observation that no later one can make good: Settled ends with it at once.
func Final(err error) error { return &finalError{err} }

type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// Settled observes until observe returns nil as often in a row as the policy asks. The error is an
// *ErrNotYet around observe's last error, or the context's error when that ended first and nothing
// had been observed yet. An error that is Final ends it.
func Settled(ctx context.Context, p Policy, observe func(context.Context) error) (Seen, error) {
	every, need := p.Every, max(1, p.Consecutive)
	if every == 0 {
		every = 50 * time.Millisecond
	}
	start := time.Now()
	var seen Seen
	for inRow := 0; ; {
		err := observe(ctx)
		seen = Seen{Attempts: seen.Attempts + 1, Took: time.Since(start)}
		if err == nil {
			if inRow++; inRow >= need {
				return seen, nil
			}
		} else {
			inRow = 0
			var final *finalError
			if time.Since(start) >= p.within() || ctx.Err() != nil || errors.As(err, &final) {
				return seen, &ErrNotYet{Seen: seen, Last: err}
			}
		}
		if pause := time.NewTimer(every); !wait(ctx, pause.C) {
			pause.Stop()
			if err == nil {
				err = ctx.Err()
			}
			return seen, &ErrNotYet{Seen: seen, Last: err}
		}
	}
}

// Idle lets time pass, for what is judged by having been left alone. It ends early with the context.
func Idle(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	if !wait(ctx, timer.C) {
		return context.Cause(ctx)
	}
	return nil
}

func wait(ctx context.Context, c <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-c:
		return true
	}
}
