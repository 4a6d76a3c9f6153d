package suite

import (
	"container/heap"
	"sync"
)

// turns lets a number of requirements be judged at once. Of those that wait the one with the lowest place goes first,
// whichever came first.
type turns struct {
	mu      sync.Mutex
	limit   int
	taken   int
	waiting queue
}

func newTurns(atOnce int) *turns { return &turns{limit: atOnce} }

// take waits for a turn.
func (t *turns) take(place int) {
	w := waiter{place: place, turn: make(chan struct{})}
	t.mu.Lock()
	heap.Push(&t.waiting, w)
	t.begin()
	t.mu.Unlock()
	<-w.turn
}

// give ends a turn.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	t.begin()
}

// allow sets how many there are at once; those beyond it that have begun go on.
func (t *turns) allow(atOnce int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = atOnce
	t.begin()
}

// begin lets as many begin as there is room for.
func (t *turns) begin() {
	for t.taken < t.limit && len(t.waiting) > 0 {
		next, ok := heap.Pop(&t.waiting).(waiter)
		if !ok {
			return
		}
		t.taken++
		close(next.turn)
	}
}

type waiter struct {
	place int
	turn  chan struct{}
}

// queue is a heap of those who wait (container/heap).
type queue []waiter

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].place < q[j].place }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push adds one at the end.
func (q *queue) Push(x any) {
	if w, ok := x.(waiter); ok {
		*q = append(*q, w)
	}
}

// Pop takes the last.
func (q *queue) Pop() any {
	all := *q
	last := all[len(all)-1]
	*q = all[:len(all)-1]
	return last
}
