package fault

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync/atomic"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// SocketInPlaceOf mounts a socket that does not speak the protocol over the one at the path, for the
// last node's agent alone: in that agent's own mount namespace, which nothing else shares.
func SocketInPlaceOf(find func(context.Context, *requirement.Env, *requirement.End) (string, error)) requirement.Point {
	return requirement.Point{Where: "mount namespace of one node's agent", Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		nodes := env.Cast.Ends(world.Node)
		if len(nodes) == 0 {
			return nil, errNoAgent
		}
		agent := nodes[len(nodes)-1]
		at, err := find(ctx, env, agent)
		if err != nil {
			return nil, err
		}
		s := &socket{agent: agent, target: path.Join(world.HostPath, at)}
		decoy := "/run/parley/decoy.sock"
		server, err := agent.Listen(ctx, wire.Listen{Network: "unix", Address: decoy, Mode: 0o660})
		if err := either(server.Errno, err); err != nil {
			return nil, fmt.Errorf("opening a decoy in %s: %w", agent, err)
		}
		s.handle = server.Handle
		done, err := agent.Mount(ctx, wire.Mount{Do: "bind", Source: decoy, Target: s.target})
		if err := either(done.Errno, err); err != nil {
			return nil, errors.Join(fmt.Errorf("mounting the decoy over %s: %w", s.target, err), s.Lift(context.WithoutCancel(ctx)))
		}
		s.mounted = true
		return s, nil
	}}
}

type socket struct {
	agent          *requirement.End
	target, handle string
	mounted        bool
	lifted         atomic.Bool
}

// Acted is true while the mount is in force: who opens the path in that namespace meets the decoy.
func (s *socket) Acted(context.Context) (bool, string, error) {
	return s.mounted, "a decoy mounted over " + s.target, nil
}

func (s *socket) Lift(ctx context.Context) error {
	if s.lifted.Load() {
		return nil
	}
	if s.mounted {
		done, err := s.agent.Mount(ctx, wire.Mount{Do: "unmount", Target: s.target})
		if err := either(done.Errno, err); err != nil {
			return fmt.Errorf("unmounting the decoy from %s: %w", s.target, err)
		}
	}
	if err := s.agent.Release(ctx, s.handle); err != nil {
		return fmt.Errorf("closing the decoy: %w", err)
	}
	s.lifted.Store(true)
	return nil
}

// either is the channel's error, or what the kernel answered as one; nil where both are well.
func either(answer wire.Errno, err error) error {
	if err == nil && !answer.Ok() {
		return errors.New(answer.String())
	}
	return err
}
