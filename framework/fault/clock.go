package fault

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// ShiftClock has the last node's agent report a clock that is off by the time given; the node's own is left alone.
func ShiftClock(by time.Duration) requirement.Point {
	return requirement.Point{Where: "agent of one node", Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		agent, err := lastAgent(env)
		if err != nil {
			return nil, err
		}
		seen, err := agent.Clock(ctx, wire.Clock{Do: "shift", By: int64(by)})
		if err := probe.Either(seen.Errno, err); err != nil {
			return nil, fmt.Errorf("shifting the clock that %s reports: %w", agent, err)
		}
		return &shift{agent: agent, handle: seen.Handle, by: by}, nil
	}}
}

type shift struct {
	agent  *requirement.End
	handle string
	by     time.Duration
	done   atomic.Bool
}

// Acted is true while the shift is in force: every reading of that agent has it.
func (s *shift) Acted(context.Context) (bool, string, error) {
	return true, fmt.Sprintf("%s reports a clock off by %s", s.agent.Node, s.by), nil
}

func (s *shift) Lift(ctx context.Context) error {
	if s.done.Load() {
		return nil
	}
	if err := s.agent.Release(ctx, s.handle); err != nil {
		return fmt.Errorf("taking the shift back: %w", err)
	}
	s.done.Store(true)
	return nil
}
