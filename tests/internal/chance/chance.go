// Package chance says how likely it is that something random looks wrong although it is right, so that a check of a
// random choice states its false-alarm probability instead of being lucky.
package chance

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// FalseAlarm is the greatest probability with which one verdict of a check may be wrong by chance.
const FalseAlarm = 1e-9

// DrawsToSee is how many uniform draws among n it takes that each of the n was drawn at least once, but for the
// probability alarm (by the union bound). With one to draw from it is 1.
func DrawsToSee(n int, alarm float64) int {
	if n <= 1 {
		return 1
	}
	// n * (1 - 1/n)^draws <= alarm
	return int(math.Ceil(math.Log(alarm/float64(n)) / math.Log1p(-1/float64(n))))
}

// DrawsToMeet is how many draws it takes that one that comes with the probability share in each was drawn at least once, but for the
// probability miss.
func DrawsToMeet(share, miss float64) int {
	return int(math.Ceil(math.Log(miss) / math.Log1p(-share)))
}

// LossLimit is the greatest number of draws that may be lost of so many where each is with the probability tolerated: more are with a
// probability of at most alarm.
func LossLimit(draws int, tolerated, alarm float64) int {
	lost := distuv.Binomial{N: float64(draws), P: tolerated}
	limit := 0
	for limit < draws && lost.Survival(float64(limit)) > alarm {
		limit++
	}
	return limit
}

// LossMiss is the probability that of so many draws, each lost with the probability rate, no more than limit are.
func LossMiss(draws, limit int, rate float64) float64 {
	return distuv.Binomial{N: float64(draws), P: rate}.CDF(float64(limit))
}

// SpreadOf is Pearson's chi-square statistic of the counts against equal shares, 0 for fewer than two counts.
func SpreadOf(counts []int) float64 {
	sum := 0
	for _, c := range counts {
		sum += c
	}
	if len(counts) < 2 || sum == 0 {
		return 0
	}
	share := float64(sum) / float64(len(counts))
	var x float64
	for _, c := range counts {
		x += (float64(c) - share) * (float64(c) - share) / share
	}
	return x
}

// SpreadLimit is what SpreadOf n counts exceeds with the probability alarm where each draw is uniform and independent.
// It is the chi-square distribution's, which the statistic follows closely from some dozens of draws a count on.
func SpreadLimit(n int, alarm float64) float64 {
	if n < 2 {
		return 0
	}
	// The upper tail itself: 1-alarm would lose the digits of a small alarm.
	tail := distuv.ChiSquared{K: float64(n - 1)}
	low, high := 0.0, 1.0
	for tail.Survival(high) > alarm {
		high *= 2
	}
	for range 100 {
		if middle := (low + high) / 2; tail.Survival(middle) > alarm {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// Losses tells two rates of loss from each other by as few trials as it takes: Wald's sequential probability ratio test
// (Sequential Tests of Statistical Hypotheses, 1945).
type Losses struct {
	Tolerated, Sought float64 // shares of trials that are lost: what is no fault, and what is to be found
	Alarm             float64 // the probability that Tolerated is called a fault
	Miss              float64 // the probability that Sought is not
}

// Decided says what so many lost of so many trials show: a fault, none, or nothing yet.
func (l Losses) Decided(lost, of int) (fault, enough bool) {
	ratio := float64(lost)*math.Log(l.Sought/l.Tolerated) + float64(of-lost)*(math.Log1p(-l.Sought)-math.Log1p(-l.Tolerated))
	switch {
	case ratio >= math.Log((1-l.Miss)/l.Alarm):
		return true, true
	case ratio <= math.Log(l.Miss/(1-l.Alarm)):
		return false, true
	}
	return false, false
}

// Needed is how many further trials without a loss show that there is no fault, and how many further losses in a row that there is one,
// after so many lost of so many trials that show nothing yet. Both are at least 1.
func (l Losses) Needed(lost, of int) (trials, losses int) {
	each, kept := math.Log(l.Sought/l.Tolerated), math.Log1p(-l.Sought)-math.Log1p(-l.Tolerated)
	ratio := float64(lost)*each + float64(of-lost)*kept
	trials = int(math.Ceil((math.Log(l.Miss/(1-l.Alarm)) - ratio) / kept))
	losses = int(math.Ceil((math.Log((1-l.Miss)/l.Alarm) - ratio) / each))
	return max(1, trials), max(1, losses)
}
