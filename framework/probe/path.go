package probe

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// Ping sends one ICMP echo request.
func (a *Agent) Ping(ctx context.Context, p wire.Ping) (wire.Pinged, error) {
	return do[wire.Pinged](ctx, a, wire.OpPing, p)
}

// Route adds or removes a route of the run's own.
func (a *Agent) Route(ctx context.Context, r wire.Route) (wire.RouteSeen, error) {
	return do[wire.RouteSeen](ctx, a, wire.OpRoute, r)
}

// Track finds or forgets connections that are tracked.
func (a *Agent) Track(ctx context.Context, t wire.Track) (wire.TrackSeen, error) {
	return do[wire.TrackSeen](ctx, a, wire.OpTrack, t)
}

// Look reads how a network namespace reaches addresses.
func (a *Agent) Look(ctx context.Context, l wire.Look) (wire.Looked, error) {
	return do[wire.Looked](ctx, a, wire.OpLook, l)
}

// Trace listens for the drops of nftables' rules.
func (a *Agent) Trace(ctx context.Context, t wire.Trace) (wire.Traced, error) {
	return do[wire.Traced](ctx, a, wire.OpTrace, t)
}
