package probe

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// Process lists the processes that the agent sees, or signals one.
func (a *Agent) Process(ctx context.Context, p wire.Process) (wire.ProcessResult, error) {
	return do[wire.ProcessResult](ctx, a, wire.OpProcess, p)
}

// Descriptor passes an open file descriptor over a unix socket.
func (a *Agent) Descriptor(ctx context.Context, d wire.Descriptor) (wire.DescriptorResult, error) {
	return do[wire.DescriptorResult](ctx, a, wire.OpDescriptor, d)
}
