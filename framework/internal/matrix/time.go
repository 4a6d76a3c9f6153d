package matrix

import (
	"fmt"
	"strings"
	"time"
)

// What a run takes on a busy machine of two cores, for the question whether it fits go test's -timeout. What judging takes is
// package judge's to say.
const (
	joinCluster    = time.Minute
	makeCluster    = 2 * time.Minute
	otherWorld     = 90 * time.Second // a world is removed and another one made
	buildNodeImage = 25 * time.Minute
	buildHandler   = 4 * time.Minute
	// buildRuntimeImage is for a runtime's layer on a node image that is there: a Debian root or packages, the image saved,
	// put together and loaded.
	buildRuntimeImage = 10 * time.Minute

	// CleanupReserve is kept back of go test's own -timeout, so that the cluster is removed and the report
	// written before go test panics.
	CleanupReserve = 75 * time.Second
	// childReserve is how much earlier a child ends by go test's -timeout than the whole.
	childReserve = 20 * time.Second
)

// Budget is the time that a run may take: go test's -timeout.
type Budget struct {
	Started time.Time
	Limit   time.Duration // 0 is none
}

// Fits refuses a run that the limit would end in the middle.
func (b Budget) Fits(need time.Duration) error {
	left := b.Limit - time.Since(b.Started)
	if b.Limit == 0 || left >= need+CleanupReserve {
		return nil
	}
	if IsChild() {
		return fmt.Errorf("this cluster may take %s, and of go test's -timeout only %s are left for it: run the matrix with a longer -timeout", need+CleanupReserve, left.Round(time.Second))
	}
	ask := (need + CleanupReserve + time.Since(b.Started)).Round(time.Minute) + time.Minute
	return fmt.Errorf("this run may take %s and go test's -timeout ends it after %s: run it with -timeout %s", need+CleanupReserve, b.Limit, strings.TrimSuffix(ask.String(), "0s"))
}

// ofChild is what a child may take, 0 for any time.
func (b Budget) ofChild() time.Duration {
	if b.Limit == 0 {
		return 0
	}
	// Never 0, which would be no limit.
	return max(b.Limit-time.Since(b.Started)-childReserve, time.Second).Round(time.Second)
}

// judging is the time to judge so many columns on so many clusters, each on a world of its own.
func (o Options) judging(columns, clusters int) time.Duration {
	return time.Duration(columns)*o.JudgingEachColumn + time.Duration(columns-clusters)*otherWorld
}

// making is the time to make n clusters, of which so many are there at a time.
func (o Options) making(n, slots int) time.Duration {
	if slots == 1 {
		return time.Duration(n) * makeCluster
	}
	// All but the first are made while another is judged, and both take longer by it.
	return makeCluster + time.Duration(n-1)*makeCluster/2
}
