// Package undo remembers what was made and how to remove it again, so that all of it is removed in the end, whatever ended the
// work: an error, an interrupt, or that all is done.
package undo

import (
	"context"
	"slices"
	"sync"
	"time"
)

// List is what there is to undo. Its zero value is an empty list; it may be used by several goroutines.
type List struct {
	mu    sync.Mutex
	steps []*step
}

type step struct {
	what string
	do   func(context.Context) error
}

// Add remembers a step. what names it in the words of a message: "removing the namespace x". forget takes it off the list
// again, for what was undone before.
func (l *List) Add(what string, do func(context.Context) error) (forget func()) {
	s := &step{what, do}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steps = append(l.steps, s)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.steps = slices.DeleteFunc(l.steps, func(other *step) bool { return other == s })
	}
}

// All undoes everything, the last first. What could not be undone is told to failed, and the rest is still done. Called twice,
// or with nothing to undo, it does nothing.
func (l *List) All(ctx context.Context, failed func(what string, err error)) {
	for {
		s := l.last()
		if s == nil {
			return
		}
		if err := s.do(ctx); err != nil {
			failed(s.what, err)
		}
	}
}

// last takes the last step off the list; nil where there is none.
func (l *List) last() *step {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.steps) == 0 {
		return nil
	}
	s := l.steps[len(l.steps)-1]
	l.steps = l.steps[:len(l.steps)-1]
	return s
}

// How long Do takes at most: a busy kubelet may take long over the end of a pod. After an interrupt it is in a hurry, since the
// namespaces or the whole cluster go right after.
const (
	bound        = 2 * time.Minute
	hurriedBound = 15 * time.Second
)

// Do undoes something also when the context has ended meanwhile.
func Do(ctx context.Context, step func(context.Context) error) error {
	within := bound
	if ctx.Err() != nil {
		within = hurriedBound
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	return step(ctx)
}
