package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

const (
	// SilentInRow is how many attempts in a row nobody may answer that silence is believed. On a path that loses one packet in a hundred
	// each way, all answers of somebody who does answer are lost by a chance of 3e-9, on one that loses one in ten by 3e-4; and each
	// attempt counts only where another of the same client was answered at the same moment.
	SilentInRow = 5
	// silentEvery is from one of them to the next.
	silentEvery = 200 * time.Millisecond
)

// Silent says whether nobody answers what talk.From dials: SilentInRow attempts in a row end as refused or in silence, each beside one of
// heard, which the same client is answered at the same moment, so that it could have been heard. by is how the last one ended. why ends
// the failure's sentence: "a node without an endpoint".
//
// An answer is final, unless the talk is Converging: there the row begins anew as long as the patience lasts.
func Silent(ctx context.Context, env *requirement.Env, talk, heard Talk, why string) (by wire.Errno, err error) {
	err = talk.patience(env)(ctx, func(ctx context.Context) (err error) {
		by, err = talk.silentInRow(ctx, env, heard, why)
		return err
	})
	return by, err
}

func (t Talk) silentInRow(ctx context.Context, env *requirement.Env, heard Talk, why string) (by wire.Errno, err error) {
	var mu sync.Mutex
	var answered, unheard error
	attempt := func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error {
			seen, err := Once(ctx, env, t)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			by = seen.Errno
			switch {
			case seen.Ok() || seen.Witness != nil || seen.Step == wire.StepCompare:
				expected := "no answer at "
				if t.Knock {
					expected = "no connection to "
				}
				answered = t.answered(seen, expected+t.Dial+comma(why))
			case !slices.Contains([]wire.Class{wire.TimedOut, wire.Refused, wire.Unreachable, wire.Denied, wire.Reset}, seen.Class):
				return fmt.Errorf("%s could not dial %s: %s", t.From, t.Dial, seen.Errno)
			}
			return nil
		})
		group.Go(func() error {
			_, err := Again(ctx, env, heard)
			if f := requirement.AsFailure(err); f != nil {
				f.Expected += ", beside which silence at " + t.Dial + " is judged"
				mu.Lock()
				defer mu.Unlock()
				unheard = f
				return nil
			}
			return err
		})
		return group.Wait()
	}
	if err := inRow(ctx, t.Source != "" || heard.Source != "", attempt); err != nil {
		return by, err
	}
	if answered != nil { // also where the other was not heard: somebody is there
		return by, answered
	}
	return by, unheard
}

// inRow makes the attempts, each begun that much later than the one before; one at a time where they have a source port of their own.
func inRow(ctx context.Context, oneAtATime bool, attempt func(context.Context) error) error {
	var begun errgroup.Group
	var err error
	for i := range SilentInRow {
		if i > 0 {
			if err = until.Idle(ctx, silentEvery); err != nil {
				break
			}
		}
		if oneAtATime {
			if err = attempt(ctx); err != nil {
				break
			}
			continue
		}
		begun.Go(func() error { return attempt(ctx) })
	}
	return errors.Join(err, begun.Wait())
}

func comma(why string) string {
	if why == "" {
		return ""
	}
	return ", " + why
}

// answered is the failure of an answer where none was due.
func (t Talk) answered(seen wire.Exchange, expected string) error {
	observed := "an answer by somebody who is no agent: " + seen.Text
	switch {
	case t.Knock:
		observed = "a connection to " + seen.Remote
	case seen.Witness != nil:
		observed = "an answer by " + seen.Witness.Who
		if seen.Witness.Local != "" {
			observed += " at " + seen.Witness.Local
		}
	}
	f := &requirement.Failure{Reason: requirement.Answered, From: t.From, To: t.To, Target: t.Dial, Protocol: t.Network,
		Expected: expected, Observed: observed, Again: t.again()}
	if !t.Converging {
		f.Final = requirement.AnswerIsFinal
	}
	return f
}
