package probe

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// Map maps a file into memory, or reads or writes that memory.
func (a *Agent) Map(ctx context.Context, m wire.Map) (wire.MapResult, error) {
	return do[wire.MapResult](ctx, a, wire.OpMap, m)
}

// Lock takes an advisory lock on a file.
func (a *Agent) Lock(ctx context.Context, l wire.Lock) (wire.LockResult, error) {
	return do[wire.LockResult](ctx, a, wire.OpLock, l)
}

// Watch watches a path by inotify.
func (a *Agent) Watch(ctx context.Context, w wire.Watch) (wire.WatchResult, error) {
	return do[wire.WatchResult](ctx, a, wire.OpWatch, w)
}

// Replace replaces a file repeatedly, or reads it repeatedly and looks for torn versions.
func (a *Agent) Replace(ctx context.Context, r wire.Replace) (wire.ReplaceResult, error) {
	return do[wire.ReplaceResult](ctx, a, wire.OpReplace, r)
}

// FIFO makes or uses a named pipe.
func (a *Agent) FIFO(ctx context.Context, f wire.FIFO) (wire.FIFOResult, error) {
	return do[wire.FIFOResult](ctx, a, wire.OpFIFO, f)
}
