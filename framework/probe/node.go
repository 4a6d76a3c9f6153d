package probe

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// Suspend stops processes for a bounded time, or returns the state of an earlier suspension.
func (a *Agent) Suspend(ctx context.Context, h wire.Suspend) (wire.SuspendResult, error) {
	return do[wire.SuspendResult](ctx, a, wire.OpSuspend, h)
}

// Log writes a line to the container's log.
func (a *Agent) Log(ctx context.Context, line string) (wire.LogResult, error) {
	return do[wire.LogResult](ctx, a, wire.OpLog, wire.Log{Line: line})
}

// Clock reads the node's clock, or has the agent report a shifted one.
func (a *Agent) Clock(ctx context.Context, c wire.Clock) (wire.ClockResult, error) {
	return do[wire.ClockResult](ctx, a, wire.OpClock, c)
}

// CNIVersion asks a CNI plugin for the versions that it speaks.
func (a *Agent) CNIVersion(ctx context.Context, c wire.CNIVersion) (wire.CNIVersions, error) {
	return do[wire.CNIVersions](ctx, a, wire.OpCNIVersion, c)
}
