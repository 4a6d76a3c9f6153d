package fault

import (
	"context"
	"fmt"
	"path"
	"sync/atomic"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// FileInPlaceOf mounts a file with that text over the node's at the path, for the last node's agent alone: in that
// agent's own mount namespace, which nothing else shares.
func FileInPlaceOf(find func(context.Context, *requirement.Env, *requirement.End) (string, error), text string) requirement.Point {
	return requirement.Point{Where: "mount namespace of one node's agent", Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		agent, err := lastAgent(env)
		if err != nil {
			return nil, err
		}
		at, err := find(ctx, env, agent)
		if err != nil {
			return nil, err
		}
		f := &file{agent: agent, decoy: "/run/parley/" + tableOf(env), target: path.Join(world.HostPath, at)}
		wrote, err := agent.File(ctx, wire.File{Do: "write", Path: f.decoy, Data: []byte(text)})
		if err := either(wrote.Errno, err); err != nil {
			return nil, fmt.Errorf("writing a decoy in %s: %w", agent, err)
		}
		done, err := agent.Mount(ctx, wire.Mount{Do: "bind", Source: f.decoy, Target: f.target})
		if err := either(done.Errno, err); err != nil {
			return nil, lifted(ctx, f, fmt.Errorf("mounting the decoy over %s: %w", f.target, err))
		}
		f.mounted = true
		return f, nil
	}}
}

type file struct {
	agent         *requirement.End
	decoy, target string
	mounted       bool
	done          atomic.Bool
}

// Acted is true while the mount is in force: who opens the path in that namespace meets the decoy.
func (f *file) Acted(context.Context) (bool, string, error) {
	return f.mounted, "a decoy mounted over " + f.target, nil
}

func (f *file) Lift(ctx context.Context) error {
	if f.done.Load() {
		return nil
	}
	if f.mounted {
		done, err := f.agent.Mount(ctx, wire.Mount{Do: "unmount", Target: f.target})
		if err := either(done.Errno, err); err != nil {
			return fmt.Errorf("unmounting the decoy from %s: %w", f.target, err)
		}
		f.mounted = false
	}
	removed, err := f.agent.File(ctx, wire.File{Do: "remove", Path: f.decoy})
	if err := either(removed.Errno, err); err != nil {
		return fmt.Errorf("removing the decoy: %w", err)
	}
	f.done.Store(true)
	return nil
}
