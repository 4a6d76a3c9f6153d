package nodeimage

import (
	"strings"
	"sync"
	"time"
)

// Step is the progress of a build: reported when a component begins, every few seconds while it goes on, and when it is done.
type Step struct {
	N, Of     int           // the component's number, from 1, and how many there are; 0 for a single one and for the wait for another run
	Component string        // its name and version, such as "containerd v2.4.2"
	Detail    string        // what is going on in it, such as the package that is compiled; may be ""
	Done      bool          // it is made; a component that failed is never reported as done
	Took      time.Duration // so far, or in all when done; what is made beside others counts from when it is waited for
	Cached    bool          // nothing had to be made
}

// progressInterval is how often a component that takes long is reported.
const progressInterval = 5 * time.Second

// step is one component being made.
type step struct {
	component string
	run       func(*step) error

	mu    sync.Mutex
	state Step
}

// place sets the step's number, from 1, and how many there are; 0 for a single one.
func (s *step) place(n, of int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.N, s.state.Of, s.state.Component = n, of, s.component
}

// detail sets what is going on in the step.
func (s *step) detail(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Detail = strings.TrimSpace(text)
}

// cached marks the step as one that had nothing to make.
func (s *step) cached() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Cached = true
}

// do runs the step and reports how it goes; progress is never called twice at once.
func (s *step) do(progress func(Step)) error {
	begun := time.Now()
	snapshot := func(done bool) Step {
		s.mu.Lock()
		defer s.mu.Unlock()
		state := s.state
		state.Done, state.Took = done, time.Since(begun)
		return state
	}
	progress(snapshot(false))
	ended := make(chan error, 1)
	go func() { ended <- s.run(s) }()
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			progress(snapshot(false))
		case err := <-ended:
			if err == nil {
				progress(snapshot(true))
			}
			return err
		}
	}
}
