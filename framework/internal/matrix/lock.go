package matrix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/gofrs/flock"

	"github.com/parley-k8s/parley/framework/internal/progress"
)

// A child is told by its environment whose it is: columnVariable has the names of the columns that it judges, lockVariable the
// file whose lock it holds while it judges.
const (
	columnVariable = "PARLEY_COLUMN"
	lockVariable   = "PARLEY_LOCK"
)

var (
	errOrphaned = errors.New("the run of the whole matrix has ended")
	// ErrStopped is why a child ends that its parent stopped.
	ErrStopped = errors.New("the run of the whole matrix was stopped")
)

// IsChild says whether this process judges one cluster of a matrix for another process.
func IsChild() bool { return os.Getenv(columnVariable) != "" }

// FollowParent has stop called when this is a child and its parent ends, however that ends: it holds the other end of this
// process's standard input.
func FollowParent(stop context.CancelCauseFunc) {
	if !IsChild() {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // nothing is ever sent; its end is the news
		stop(errOrphaned)
	}()
}

// coresToOverlap is how many cores it takes that one cluster can be made while another is judged, without a trace in
// what is measured, or a verdict that comes of the load: making one takes two for half a minute.
const coresToOverlap = 8

// judgesAlone says whether no cluster of a matrix is made while another is judged.
func judgesAlone() bool { return runtime.NumCPU() < coresToOverlap }

// Lock waits until no other cluster of the matrix is judged, so that what is measured is not of two at once. A process that is no
// child need not wait. It ends with the context's cause where that is done first.
func Lock(ctx context.Context, log *progress.Log) (unlock func(), err error) {
	path := os.Getenv(lockVariable)
	if path == "" {
		return func() {}, nil
	}
	lock := flock.New(path)
	waits := time.AfterFunc(time.Second, func() { log.Say("waits for its turn to be judged") })
	defer waits.Stop()
	// The kernel tells nobody that a lock is free: it is asked again and again until the run ends.
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, fmt.Errorf("waiting for its turn to be judged: %w", err)
	}
	return func() { _ = lock.Unlock() }, nil // unlocked by the kernel at the latest when this process ends
}
