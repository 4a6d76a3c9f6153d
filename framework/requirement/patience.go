package requirement

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/parley-k8s/parley/framework/until"
)

// Why no later attempt forgives what one has seen: the values of Failure.Final. A machine that is busy answers late, or not at all; it
// does not answer something else.
const (
	ChangedIsFinal = "what arrives changed is never the machine's doing"
	PeerIsFinal    = "who answers an address that stays as it is, and under which address, is never the machine's doing"
	AnswerIsFinal  = "an answer where none was due is never the machine's doing"
	// SampleIsFinal is of a sample whose probability to be judged wrong is stated: a second one that is judged well says nothing of the first.
	SampleIsFinal = "a sample is judged once"
	// RowIsFinal is of what nothing changed, and failed often in a row.
	RowIsFinal = "what nothing changed and fails a hundred times in a row is never the machine's doing"
	// KnownIsFinal is of what crosses a way that was found to carry nothing, and why.
	KnownIsFinal = "nothing passes over this way, and what breaks it is known"
	// SharedIsFinal is of an address that two have who must each have their own.
	SharedIsFinal = "an address that two have at any time is never the machine's doing"
	// SickIsFinal is of a node that was watched beside the others before the row was judged.
	SickIsFinal = "the node was found sick beside others on the same machine, and was given its time then"
)

// inARow is how many failures in a row of what nothing changed are the cluster's: a machine that bears so many attempts in the time of
// the patience is not too busy for one of them.
const inARow = 100

// finalOf is why a failure for that reason is final where nothing has changed that could still become known; "" where a later attempt may
// show that it was a matter of time.
func finalOf(r Reason) string {
	switch r {
	case WrongPeer, WrongPort, Translated:
		return PeerIsFinal
	}
	return ""
}

// LateHold is something that held on a later attempt than the first: patience forgave what the first attempt saw.
type LateHold struct {
	Attempts int           // 2 or more
	Took     time.Duration // from the first attempt to the one that held
	First    string        // what the first attempt saw
	// Steady says that the check had made and changed nothing by then: there was nothing to become known, but what the run made before.
	Steady bool
}

// LateHolds are what held late so far.
func (e *Env) LateHolds() []LateHold {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.late)
}

func (e *Env) holdLate(h LateHold) {
	h.Steady = e.steady()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.late = append(e.late, h)
}

// finalInARow is why so many failures in a row are final; "" where they are not.
func finalInARow(attempts int, steady bool) string {
	if attempts >= inARow && steady {
		return RowIsFinal
	}
	return ""
}

// steady says whether the check has made and changed nothing so far.
func (e *Env) steady() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.after) == 0
}

// observed is what was seen in place of what was due, of a failure; of any other error what it says.
func observed(err error) string {
	if f := AsFailure(err); f != nil && f.Observed != "" {
		return f.Observed
	}
	return err.Error()
}

// Until observes until it is right, within the patience in force; the failure that comes back says how often and how long. What
// settled only after some attempts is noted.
//
// Patience is for what is still becoming: a Service that a proxy does not know yet, a pod that is not ready. A failure that is Final,
// and one by a wrong peer, a wrong port or a translated address, ends it at once: for what was changed a moment ago there is Converges.
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
	return e.observe(ctx, policy, func(ctx context.Context) error {
		err := observe(ctx)
		if f := AsFailure(err); f != nil && f.Final == "" {
			f.Final = finalOf(f.Reason)
		}
		return err
	})
}

// Converges is Until for what the check changed a moment ago, or made: who answered before may still do so, and a wrong peer or
// address is forgiven while the patience lasts. What is Final for another reason, such as bytes that arrived changed, is not.
func (e *Env) Converges(ctx context.Context, observe func(context.Context) error) error {
	return e.observe(ctx, until.Policy{Within: e.Patience}, observe)
}

func (e *Env) observe(ctx context.Context, policy until.Policy, observe func(context.Context) error) error {
	first, begun := "", time.Now()
	seen, err := Settles(ctx, policy, func(ctx context.Context) error {
		err := observe(ctx)
		if first == "" && err != nil {
			first = observed(err)
		}
		if f := AsFailure(err); f != nil && f.Final == "" && e.Explained != nil && time.Since(begun) >= e.Attempt && e.Explained(f) {
			f.Final = KnownIsFinal
		}
		var lacks *NotPermitted
		if errors.As(WithoutRight(err, e.User), &lacks) {
			return until.Final(lacks) // rights don't come by waiting
		}
		return err
	})
	if f := AsFailure(err); f != nil && f.Final == "" {
		f.Final = finalInARow(seen.Attempts, e.steady())
	}
	if err == nil && seen.Attempts > 1 {
		e.Note("held on attempt %d, after %s", seen.Attempts, seen.Took.Round(time.Millisecond))
		e.holdLate(LateHold{Attempts: seen.Attempts, Took: seen.Took, First: first})
	}
	return err
}

// Settles is until.Settled, but for a failure that is Final, which ends it. A failure that comes back says how often it was tried and
// how long, unless the observer itself has counted more.
func Settles(ctx context.Context, p until.Policy, observe func(context.Context) error) (until.Seen, error) {
	seen, err := until.Settled(ctx, p, func(ctx context.Context) error {
		err := observe(ctx)
		if f := AsFailure(err); f != nil && f.Final != "" {
			return until.Final(err)
		}
		return err
	})
	if f := AsFailure(err); f != nil {
		f.Attempts, f.Took, f.becoming = max(f.Attempts, seen.Attempts), max(f.Took, seen.Took), f.Final == ""
		return seen, f
	}
	return seen, err
}

// WhyFinal is why no later attempt forgives what was seen; "" where one may: what is not Final by its own word is by its reason, unless
// it was waited for in vain, which a machine that is too busy can make of a change.
func (f *Failure) WhyFinal() string {
	if f.Final != "" || f.becoming {
		return f.Final
	}
	return finalOf(f.Reason)
}
