package suite

import (
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

// takeTurn waits until no other column of the matrix is judged, so that what is measured is not of two clusters at once: for
// the lock on the turn's file, which a run that is no column does not have.
func (r *Run) takeTurn() (release func(), err error) {
	path := os.Getenv(turnVariable)
	if path == "" {
		return func() {}, nil
	}
	turn := flock.New(path)
	waits := time.AfterFunc(time.Second, func() { r.progress.say("waits for its turn to be judged") })
	defer waits.Stop()
	// The kernel tells nobody that a lock is free: it is asked again and again until the run ends.
	if _, err := turn.TryLockContext(r.ctx, 200*time.Millisecond); err != nil {
		return nil, r.orInterrupted(fmt.Errorf("waiting for its turn to be judged: %w", err))
	}
	return func() { _ = turn.Unlock() }, nil // unlocked by the kernel at the latest when this process ends
}
