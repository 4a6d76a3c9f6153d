// Package skew judges how far clocks are apart that are read from afar, each reading with an uncertainty of its own:
// the clock was read at some moment between the question and its answer.
package skew

import "time"

// Reading is one clock, read once.
type Reading struct {
	Name string
	// Kernel is the boot ID of the kernel that keeps the clock: readings of one kernel are of one clock.
	Kernel string
	Asked  time.Time // by the asker's own clock, monotonic
	Now    time.Time // what was answered
	Took   time.Duration
}

// offset is how far the clock is ahead of the asker's, give or take half the time that asking took.
func (r Reading) offset() time.Duration { return r.Now.Sub(r.Asked.Round(0)) - r.Took/2 }

// Pair is the two clocks that are furthest apart for certain.
type Pair struct {
	Ahead, Behind Reading
	// Apart is how far they are apart at least, Unsure how much further they may be.
	Apart, Unsure time.Duration
}

// Widest finds the pair. ok is false where no two readings are of different kernels: nothing can be judged then.
func Widest(all []Reading) (widest Pair, ok bool) {
	for _, a := range all {
		for _, b := range all {
			if a.Kernel == b.Kernel || a.offset() < b.offset() {
				continue
			}
			unsure := (a.Took + b.Took) / 2
			p := Pair{Ahead: a, Behind: b, Apart: max(a.offset()-b.offset()-unsure, 0), Unsure: 2 * unsure}
			if !ok || p.Apart > widest.Apart {
				widest, ok = p, true
			}
		}
	}
	return widest, ok
}
