package probe

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// Hold stops processes for a bounded time, or says what became of a hold.
func (a *Agent) Hold(ctx context.Context, h wire.Hold) (wire.Held, error) {
	return do[wire.Held](ctx, a, wire.OpHold, h)
}

// Say writes a line to the container's log.
func (a *Agent) Say(ctx context.Context, line string) (wire.Said, error) {
	return do[wire.Said](ctx, a, wire.OpSay, wire.Say{Line: line})
}

// Clock reads the node's clock, or has the agent report a shifted one.
func (a *Agent) Clock(ctx context.Context, c wire.Clock) (wire.ClockSeen, error) {
	return do[wire.ClockSeen](ctx, a, wire.OpClock, c)
}

// CNIVersion asks a CNI plugin for the versions that it speaks.
func (a *Agent) CNIVersion(ctx context.Context, c wire.CNIVersion) (wire.CNIVersions, error) {
	return do[wire.CNIVersions](ctx, a, wire.OpCNIVersion, c)
}
