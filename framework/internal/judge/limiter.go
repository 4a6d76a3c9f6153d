package judge

import (
	"container/heap"
	"sync"
)

// limiter lets a number of requirements be judged at once. Of those that wait the one with the lowest place goes first,
// whichever came first.
type limiter struct {
	mu      sync.Mutex
	limit   int
	running int
	waiting queue
}

func newLimiter(atOnce int) *limiter { return &limiter{limit: atOnce} }

// acquire waits until there is room.
func (l *limiter) acquire(place int) {
	w := waiter{place: place, begins: make(chan struct{})}
	l.mu.Lock()
	heap.Push(&l.waiting, w)
	l.begin()
	l.mu.Unlock()
	<-w.begins
}

// release makes room again.
func (l *limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	l.begin()
}

// setLimit sets how many there are at once; those beyond it that have begun go on.
func (l *limiter) setLimit(atOnce int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = atOnce
	l.begin()
}

// begin lets as many begin as there is room for.
func (l *limiter) begin() {
	for l.running < l.limit && len(l.waiting) > 0 {
		next, ok := heap.Pop(&l.waiting).(waiter)
		if !ok {
			return
		}
		l.running++
		close(next.begins)
	}
}

type waiter struct {
	place  int
	begins chan struct{}
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
