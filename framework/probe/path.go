package probe

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// Ping sends one ICMP echo request.
func (a *Agent) Ping(ctx context.Context, p wire.Ping) (wire.Pinged, error) {
	return do[wire.Pinged](ctx, a, wire.OpPing, p)
}

// Route adds or removes a route of the run's own to a single address.
func (a *Agent) Route(ctx context.Context, r wire.Route) (wire.RouteResult, error) {
	return do[wire.RouteResult](ctx, a, wire.OpRoute, r)
}

// Conntrack finds, removes or replaces entries of a connection tracking table.
func (a *Agent) Conntrack(ctx context.Context, t wire.Conntrack) (wire.ConntrackResult, error) {
	return do[wire.ConntrackResult](ctx, a, wire.OpConntrack, t)
}

// InspectNetns reads how a network namespace reaches addresses: routes, neighbours, conntrack entries.
func (a *Agent) InspectNetns(ctx context.Context, l wire.InspectNetns) (wire.NetnsState, error) {
	return do[wire.NetnsState](ctx, a, wire.OpInspectNetns, l)
}

// Trace starts or stops listening for packets that nftables' rules drop.
func (a *Agent) Trace(ctx context.Context, t wire.Trace) (wire.Traced, error) {
	return do[wire.Traced](ctx, a, wire.OpTrace, t)
}
