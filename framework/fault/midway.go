package fault

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/undo"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Midway injects at the middle of the check, as Env.Midway says it: what must first work has worked by then.
func Midway(point requirement.Point) requirement.Point {
	return requirement.Point{Where: point.Where, Inject: func(_ context.Context, env *requirement.Env) (requirement.Injected, error) {
		l := &late{env: env}
		env.AtMidway(func(ctx context.Context) error {
			injected, err := point.Inject(ctx, env)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.injected, l.err = injected, err
			return err
		})
		return l, nil
	}}
}

// late is a fault that waits for the middle of the check.
type late struct {
	env      *requirement.Env
	mu       sync.Mutex
	injected requirement.Injected
	err      error
}

func (l *late) Acted(ctx context.Context) (bool, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.injected == nil {
		return false, "", l.err
	}
	return l.injected.Acted(ctx)
}

func (l *late) Lift(ctx context.Context) error {
	l.env.AtMidway(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.injected == nil {
		return nil
	}
	return l.injected.Lift(ctx)
}

// ForgetTracked has the role's node forget the connections that come from the requirement's own source ports, and take
// up none of them again in the middle (net.netfilter.nf_conntrack_tcp_loose would).
func ForgetTracked(role world.Role, proto string, sources ...int) requirement.Point {
	return requirement.Point{Where: "connection tracking of the node of the " + string(role), Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		client := env.Role(role)
		ip, err := env.IP(client)
		if err != nil {
			return nil, err
		}
		injected, err := inject(ctx, env, client.Node, 0, func(context.Context, *requirement.Env) ([]wire.Rule, error) {
			// After connection tracking (-200), before destination NAT (-100).
			return []wire.Rule{ownSources(env, wire.Rule{Hook: "prerouting", Priority: -150, Proto: proto, From: ip.String(), State: "new", Do: "drop"})}, nil
		})
		if err != nil {
			return nil, err
		}
		agent := AgentOn(env, client.Node)
		for _, n := range sources {
			seen, err := agent.Conntrack(ctx, wire.Conntrack{Do: "forget", Proto: proto, From: requirement.At(ip, env.Port(n))})
			if err := probe.Either(seen.Errno, err); err != nil {
				return nil, errors.Join(fmt.Errorf("asking %s to forget a connection: %w", agent, err), undo.Do(ctx, injected.Lift))
			}
			if len(seen.Entries) == 0 {
				return nil, errors.Join(fmt.Errorf("the kernel of %s does not track the connection from port %d", client.Node, env.Port(n)), undo.Do(ctx, injected.Lift))
			}
		}
		return injected, nil
	}}
}
