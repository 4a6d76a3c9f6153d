// Package paths draws which nodes of a cluster talk to which, and compares what was measured of the paths between them.
package paths

import "slices"

// Whole is up to how many nodes every ordered pair is drawn.
const Whole = 8

// Neighbours is to how many others each node talks where not every pair is drawn.
const Neighbours = 6

// Pair is an ordered pair of nodes by their places, both the same for a node with itself.
type Pair struct{ From, To int }

// Draw draws ordered pairs of so many nodes, each with itself among them. Up to Whole nodes they are all there are. Of more, each node
// is paired with Neighbours others, in both directions, so that the number grows with the nodes and not with their square. random gives a
// number from 0 to n-1.
func Draw(nodes int, random func(n int) int) (pairs []Pair) {
	if nodes <= Whole {
		for from := range nodes {
			for to := range nodes {
				pairs = append(pairs, Pair{from, to})
			}
		}
		return pairs
	}
	for _, step := range steps(nodes, random) {
		for from := range nodes {
			pairs = append(pairs, Pair{from, (from + step) % nodes})
		}
	}
	return pairs
}

// steps are how far apart the paired nodes are: 0, and Neighbours others that are each other's opposites. One step joins each node to
// the next, so that no group of nodes is left without a pair to the rest.
func steps(nodes int, random func(n int) int) []int {
	all := []int{0, 1, nodes - 1}
	for len(all) < 1+Neighbours {
		step := 2 + random((nodes-1)/2-1) // no half of all, which is its own opposite
		if !slices.Contains(all, step) {
			all = append(all, step, nodes-step)
		}
	}
	return all
}

// Exchanged is what became of the datagrams of one client to one server.
type Exchanged struct {
	Sent, Arrived, Answered int
}

// Way is how many of the datagrams of one direction were lost, questions and answers together.
type Way struct {
	Sent, Lost int
}

// Ways takes apart what the two ends of a path asked each other: of each direction, what was sent that way as questions of the one and
// as answers of the other. back has no datagrams where the other asked nothing.
func Ways(there, back Exchanged) (way, reverse Way) {
	of := func(asked, answered Exchanged) Way {
		return Way{Sent: asked.Sent + answered.Arrived, Lost: asked.Sent - asked.Arrived + answered.Arrived - answered.Answered}
	}
	return of(there, back), of(back, there)
}

// Behind are the places of the rates that are less than the best one by that factor or more.
func Behind(rates []float64, factor float64) (places []int) {
	for i, rate := range rates {
		if rate*factor <= slices.Max(rates) {
			places = append(places, i)
		}
	}
	return places
}
