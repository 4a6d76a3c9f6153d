package requirement

import (
	"context"
	"sync"
)

// middle is the point of a check at which what must first work has worked: the connection stands, the new pod answers.
type middle struct {
	mu   sync.Mutex
	do   func(context.Context) error
	ends []*End
}

// Midway is called by a check at its middle, with the ends that only it knows. A fault that waits for this is
// injected now; outside a proof nothing happens.
func (e *Env) Midway(ctx context.Context, ends ...*End) error {
	e.middle.mu.Lock()
	do := e.middle.do
	e.middle.do, e.middle.ends = nil, ends
	e.middle.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(ctx)
}

// AtMidway has something done when the check comes to its middle, once; nil takes it back.
func (e *Env) AtMidway(do func(context.Context) error) {
	e.middle.mu.Lock()
	defer e.middle.mu.Unlock()
	e.middle.do = do
}

// MidwayEnds are the ends that the check named at its middle.
func (e *Env) MidwayEnds() []*End {
	e.middle.mu.Lock()
	defer e.middle.mu.Unlock()
	return e.middle.ends
}
