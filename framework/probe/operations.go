package probe

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// do is Do with the result's type.
func do[R any](ctx context.Context, a *Agent, op wire.Op, args any) (R, error) {
	var result R
	err := a.Do(ctx, op, args, &result)
	return result, err
}

// Identity returns the agent's host name, IDs, namespaces and network interfaces.
func (a *Agent) Identity(ctx context.Context) (wire.Identity, error) {
	return do[wire.Identity](ctx, a, wire.OpIdentity, struct{}{})
}

// Hostname is the hostname that the agent's kernel shows it, by which its servers name themselves (wire.Witness.Who). The agent is
// asked once.
func (a *Agent) Hostname(ctx context.Context) (string, error) {
	a.mu.Lock()
	host := a.host
	a.mu.Unlock()
	if host != "" {
		return host, nil
	}
	id, err := a.Identity(ctx)
	if err != nil {
		return "", err
	}
	if id.Hostname == "" {
		return "", fmt.Errorf("agent %s: it knows no hostname of its own", a.name)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.host = id.Hostname
	return a.host, nil
}

// Listen opens a server in the agent. Release with the result's Handle closes it.
func (a *Agent) Listen(ctx context.Context, l wire.Listen) (wire.Listening, error) {
	return do[wire.Listening](ctx, a, wire.OpListen, l)
}

// Release closes what has the handle: a server, a connection, a suspension. An unknown handle is an error.
func (a *Agent) Release(ctx context.Context, handle string) error {
	got, err := do[wire.Closed](ctx, a, wire.OpClose, wire.Close{Handle: handle})
	if err == nil && !got.Ok() {
		err = fmt.Errorf("agent %s: closing %s: %s", a.name, handle, got.Errno)
	}
	return err
}

// Connect dials an address and exchanges bytes, once or many times; see wire.Connect.
func (a *Agent) Connect(ctx context.Context, c wire.Connect) (wire.Connected, error) {
	return do[wire.Connected](ctx, a, wire.OpConnect, c)
}

// Poll has the agent repeat a Connect by itself at an interval, or collects the samples since the last time.
func (a *Agent) Poll(ctx context.Context, q wire.Poll) (wire.PollResult, error) {
	return do[wire.PollResult](ctx, a, wire.OpPoll, q)
}

// HTTP makes one request.
func (a *Agent) HTTP(ctx context.Context, h wire.HTTP) (wire.HTTPAnswer, error) {
	return do[wire.HTTPAnswer](ctx, a, wire.OpHTTP, h)
}

// DNS asks one DNS server.
func (a *Agent) DNS(ctx context.Context, q wire.DNS) (wire.DNSAnswer, error) {
	return do[wire.DNSAnswer](ctx, a, wire.OpDNS, q)
}

// Resolve turns a name into addresses as a program in the agent's container would.
func (a *Agent) Resolve(ctx context.Context, r wire.Resolve) (wire.Resolved, error) {
	return do[wire.Resolved](ctx, a, wire.OpResolve, r)
}

// File writes, reads, lists, renames or removes a path in the agent's container; see wire.File.
func (a *Agent) File(ctx context.Context, f wire.File) (wire.FileResult, error) {
	return do[wire.FileResult](ctx, a, wire.OpFile, f)
}

// Queue creates, uses or removes a System V message queue.
func (a *Agent) Queue(ctx context.Context, q wire.Queue) (wire.QueueResult, error) {
	return do[wire.QueueResult](ctx, a, wire.OpQueue, q)
}

// MQueue creates, uses or removes a POSIX message queue.
func (a *Agent) MQueue(ctx context.Context, q wire.MQueue) (wire.QueueResult, error) {
	return do[wire.QueueResult](ctx, a, wire.OpMQueue, q)
}

// Sem creates, uses or removes a System V or POSIX semaphore.
func (a *Agent) Sem(ctx context.Context, s wire.Sem) (wire.SemResult, error) {
	return do[wire.SemResult](ctx, a, wire.OpSem, s)
}

// Shm creates, uses or removes a System V or POSIX shared memory object.
func (a *Agent) Shm(ctx context.Context, s wire.Shm) (wire.ShmResult, error) {
	return do[wire.ShmResult](ctx, a, wire.OpShm, s)
}

// Filter adds, removes or reads a run's own nftables table.
func (a *Agent) Filter(ctx context.Context, f wire.Filter) (wire.FilterResult, error) {
	return do[wire.FilterResult](ctx, a, wire.OpFilter, f)
}

// Mount makes or removes a bind mount, or a name for a network namespace. What the kernel refuses is an error.
func (a *Agent) Mount(ctx context.Context, m wire.Mount) error {
	done, err := do[wire.MountResult](ctx, a, wire.OpMount, m)
	if err := Either(done.Errno, err); err != nil {
		return fmt.Errorf("asking %s to %s %s: %w", a.name, m.Do, m.Target, err)
	}
	return nil
}

// Either returns err, the control channel's error, or else the kernel's answer as an error; nil where both succeeded.
func Either(answer wire.Errno, err error) error {
	if err == nil && !answer.Ok() {
		return errors.New(answer.String())
	}
	return err
}
