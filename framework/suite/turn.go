package suite

import (
	"errors"
	"fmt"
	"io"
	"os"
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

// takeTurn waits until no other column of the matrix judges, so that what is measured is not of two clusters at once.
func (r *Run) takeTurn() (release func(), err error) {
	path := os.Getenv(turnVariable)
	if path == "" {
		return func() {}, nil
	}
	lock := flock.New(path)
	got, err := lock.TryLock()
	if err == nil && !got {
		r.progress.say("ready, and waits for its turn to be judged")
		// The kernel tells nobody that a lock is free: it is asked again and again until the run ends.
		_, err = lock.TryLockContext(r.ctx, 200*time.Millisecond)
	}
	if err != nil {
		return nil, r.orInterrupted(fmt.Errorf("waiting for the turn to be judged: %w", err))
	}
	return func() { _ = lock.Unlock() }, nil // unlocked by the kernel at the latest when this process ends
}
