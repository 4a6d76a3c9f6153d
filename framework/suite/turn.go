package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

// The run of a column is told by its environment whose it is: columnVariable has the column's name, turnVariable the
// file whose lock is its turn to judge.
const (
	columnVariable = "PARLEY_COLUMN"
	turnVariable   = "PARLEY_TURN"
)

var (
	errOrphaned = errors.New("the run of the whole matrix has ended")
	errStopped  = errors.New("the run of the whole matrix was stopped")
)

// isColumn says whether this run is one column of a matrix.
func isColumn() bool { return os.Getenv(columnVariable) != "" }

// followMatrix ends the run of a column with that of its matrix, however that ends: it holds the other end of this
// process's standard input.
func (r *Run) followMatrix() {
	if !isColumn() {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // nothing is ever sent; its end is the news
		r.stop(errOrphaned)
	}()
}

// coresToOverlap is how many cores it takes that one cluster can be made while another is judged, without a trace in
// what is measured, or a verdict that comes of the load: making one takes two for half a minute.
const coresToOverlap = 8

// quiet says whether no cluster of a matrix is made while another is judged.
func quiet() bool { return runtime.NumCPU() < coresToOverlap }

// prepareTurn waits until no other column is judged, where that would be disturbed by making a cluster. Any number of
// columns are made at a time.
func (r *Run) prepareTurn() (release func(), err error) {
	if !quiet() {
		return func() {}, nil
	}
	return r.lockTurn((*flock.Flock).TryRLockContext, "making the cluster")
}

// takeTurn waits until no other column of the matrix is judged, or made where it is quiet, so that what is measured is not
// of two clusters at once.
func (r *Run) takeTurn() (release func(), err error) {
	return r.lockTurn((*flock.Flock).TryLockContext, "being judged")
}

// lockTurn waits for the lock on the turn's file; a run that is no column has none.
func (r *Run) lockTurn(lock func(*flock.Flock, context.Context, time.Duration) (bool, error), forWhat string) (release func(), err error) {
	path := os.Getenv(turnVariable)
	if path == "" {
		return func() {}, nil
	}
	turn := flock.New(path)
	waits := time.AfterFunc(time.Second, func() { r.progress.say("waits for its turn, before %s", forWhat) })
	defer waits.Stop()
	// The kernel tells nobody that a lock is free: it is asked again and again until the run ends.
	if _, err := lock(turn, r.ctx, 200*time.Millisecond); err != nil {
		return nil, r.orInterrupted(fmt.Errorf("waiting for the turn of %s: %w", forWhat, err))
	}
	return func() { _ = turn.Unlock() }, nil // unlocked by the kernel at the latest when this process ends
}
