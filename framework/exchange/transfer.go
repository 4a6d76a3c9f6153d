package exchange

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// transferPiece is how much of a transfer has one hash.
	transferPiece = 4 << 20
	// stallAfter is how long nothing of a transfer may pass, neither way: longer than five retransmissions in a row (RFC 6298: 1, 2 and 4 s
	// at most after the first 0.2 s), and than what a busy machine takes from a process.
	stallAfter = 10 * time.Second
	// pieceWithin bounds a piece of which something always passes: about 1 Mbit/s.
	pieceWithin = 35 * time.Second
	// transferFor is how long further pieces are begun: what does not fit is not sent, and that is no failure but is noted.
	transferFor = 20 * time.Second
)

// Transferred is how far a transfer came, and how fast.
type Transferred struct {
	Bytes int
	Took  time.Duration
}

// String is "64 MiB at 410 MiB/s", by its rate to the tenth where that is below ten.
func (t Transferred) String() string {
	rate := float64(t.Bytes) / (1 << 20) / max(t.Took.Seconds(), 1e-6)
	if rate < 10 {
		return fmt.Sprintf("%d MiB at %.1f MiB/s", t.Bytes>>20, rate)
	}
	return fmt.Sprintf("%d MiB at %.0f MiB/s", t.Bytes>>20, rate)
}

// Transfer says whether so many bytes arrive unchanged over one connection of the talk. The connection is opened within the patience in
// force, and used once: pieces with a hash each go over it one after another, to the end, also after one that arrived changed, so that the
// failure says how many did. How fast that is is no matter: a path that is slow carries what it carries within 20 s, at least one piece.
// A transfer of which nothing passes for 10 s has stalled, which is a failure.
func Transfer(ctx context.Context, env *requirement.Env, talk Talk, bytes int) (done Transferred, err error) {
	release, err := talk.bind(ctx)
	if err != nil {
		return done, err
	}
	defer release()
	var held wire.Exchange
	small := talk
	small.Bytes = 0
	if err := talk.patience(env)(ctx, func(ctx context.Context) (err error) {
		held, err = KeepOpen(ctx, env, small)
		return err
	}); err != nil {
		return done, err
	}
	defer Release(ctx, talk.From, held.Handle)
	talk.Reuse, talk.Stall, talk.Within = held.Handle, stallAfter, pieceWithin
	if env.Patience == 0 {
		talk.Stall = env.Attempt // a control acts at once
	}
	return talk.inPieces(ctx, env, bytes)
}

func (t Talk) inPieces(ctx context.Context, env *requirement.Env, bytes int) (done Transferred, err error) {
	begun, pieces, changed := time.Now(), 0, 0
	var first *requirement.Failure
	for done.Bytes < bytes && (done.Bytes == 0 || time.Since(begun) < transferFor) {
		t.Bytes = min(transferPiece, bytes-done.Bytes)
		_, err := Again(ctx, env, t)
		pieces++
		f := requirement.AsFailure(err)
		switch {
		case f != nil && f.Final == requirement.ChangedIsFinal:
			if changed++; changed == 1 {
				first = f
			}
		case f != nil:
			f.Expected = fmt.Sprintf("%d MiB to cross one connection to %s, and never to stand still for %s", bytes>>20, t.Dial, t.Stall)
			f.Observed += fmt.Sprintf(", after 32 bytes and %d MiB had passed on it", done.Bytes>>20)
			return done, f
		case err != nil:
			return done, err
		}
		done.Bytes += t.Bytes
		done.Took = time.Since(begun)
		if changed > 0 && env.Patience == 0 {
			break
		}
	}
	if changed == 0 {
		return done, nil
	}
	first.Expected = fmt.Sprintf("%d MiB to arrive unchanged at %s", bytes>>20, t.Dial)
	first.Observed = fmt.Sprintf("%d of %d pieces of up to %d MiB with other bytes than were sent", changed, pieces, transferPiece>>20)
	first.Attempts, first.Took = 1, done.Took
	return done, first
}
