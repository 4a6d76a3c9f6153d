package fault

import (
	"context"
	"fmt"
	"path"
	"sync/atomic"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Find is where on a node's file system something lies.
type Find func(context.Context, *requirement.Env, *requirement.End) (string, error)

// FileInPlaceOf mounts a file with that text over the node's at the path, for the last node's agent alone.
func FileInPlaceOf(find Find, text string) requirement.Point {
	return inPlaceOf(find, func(ctx context.Context, agent *requirement.End, at string) (remove func(context.Context) error, err error) {
		wrote, err := agent.File(ctx, wire.File{Do: "write", Path: at, Data: []byte(text)})
		return func(ctx context.Context) error {
			removed, err := agent.File(ctx, wire.File{Do: "remove", Path: at})
			return probe.Either(removed.Errno, err)
		}, probe.Either(wrote.Errno, err)
	})
}

// SocketInPlaceOf mounts a socket that does not speak the protocol over the one at the path, for the last node's agent
// alone. mode is of its permissions.
func SocketInPlaceOf(find Find, mode uint32) requirement.Point {
	return inPlaceOf(find, func(ctx context.Context, agent *requirement.End, at string) (remove func(context.Context) error, err error) {
		server, err := agent.Listen(ctx, wire.Listen{Network: "unix", Address: at, Mode: mode})
		return func(ctx context.Context) error { return agent.Release(ctx, server.Handle) }, probe.Either(server.Errno, err)
	})
}

// inPlaceOf mounts a decoy over a path of the node's, in the agent's own mount namespace, which nothing else shares.
func inPlaceOf(find Find, make func(context.Context, *requirement.End, string) (func(context.Context) error, error)) requirement.Point {
	return requirement.Point{Where: "mount namespace of one node's agent", Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		agent, err := lastAgent(env)
		if err != nil {
			return nil, err
		}
		at, err := find(ctx, env, agent)
		if err != nil {
			return nil, err
		}
		source := "/run/parley/" + tableOf(env)
		d := &decoy{agent: agent, target: path.Join(world.HostPath, at)}
		if d.remove, err = make(ctx, agent, source); err != nil {
			return nil, fmt.Errorf("making a decoy in %s: %w", agent, err)
		}
		if err := agent.Mount(ctx, wire.Mount{Do: "bind", Source: source, Target: d.target}); err != nil {
			return nil, lifted(ctx, d, err)
		}
		d.mounted = true
		return d, nil
	}}
}

type decoy struct {
	agent   *requirement.End
	target  string
	mounted bool
	remove  func(context.Context) error
	done    atomic.Bool
}

// Acted is true while the mount is in force: who opens the path in that namespace meets the decoy.
func (d *decoy) Acted(context.Context) (bool, string, error) {
	return d.mounted, "a decoy mounted over " + d.target, nil
}

func (d *decoy) Lift(ctx context.Context) error {
	if d.done.Load() {
		return nil
	}
	if d.mounted {
		if err := d.agent.Mount(ctx, wire.Mount{Do: "unmount", Target: d.target}); err != nil {
			return err
		}
		d.mounted = false
	}
	if err := d.remove(ctx); err != nil {
		return fmt.Errorf("removing the decoy: %w", err)
	}
	d.done.Store(true)
	return nil
}
