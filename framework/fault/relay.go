package fault

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/undo"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// relayPort is the requirement's own port that a relay listens on.
const relayPort = requirement.PortsEach - 2

// FlippingRelay puts a relay into the role's pod, between the wire and the requirement's n-th port, that flips one byte of
// each MiB.
func FlippingRelay(role world.Role, n int) requirement.Point {
	return requirement.Point{Where: "relay in the pod of the " + string(role), Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		server := env.Role(role)
		ip, err := env.IP(server)
		if err != nil {
			return nil, err
		}
		opened, err := server.Listen(ctx, wire.Listen{Network: "tcp", Address: requirement.At(env.Any(), env.Port(relayPort)), Behave: "relay",
			Target: requirement.At(ip, env.Port(n))})
		if err := probe.Either(opened.Errno, err); err != nil {
			return nil, fmt.Errorf("opening a relay in %s: %w", server, err)
		}
		r := &relay{server: server, handle: opened.Handle}
		r.Injected, err = InPodOf(role, func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
			device, err := InterfaceOf(ctx, server, ip)
			if err != nil {
				return nil, err
			}
			return []wire.Rule{{Hook: "prerouting", Priority: BeforeNAT, Proto: "tcp", In: device.Name, To: ip.String(), ToPort: env.Port(n),
				Do: "dnat", Target: requirement.At(ip, env.Port(relayPort))}}, nil
		}).Inject(ctx, env)
		if err != nil {
			return nil, errors.Join(err, undo.Do(ctx, func(ctx context.Context) error { return server.Release(ctx, r.handle) }))
		}
		return r, nil
	}}
}

// relay is the redirection with the server that it leads to.
type relay struct {
	requirement.Injected
	server *requirement.End
	handle string
}

func (r *relay) Lift(ctx context.Context) error {
	if err := r.Injected.Lift(ctx); err != nil {
		return err
	}
	if r.handle == "" {
		return nil
	}
	if err := r.server.Release(ctx, r.handle); err != nil {
		return fmt.Errorf("closing the relay in %s: %w", r.server, err)
	}
	r.handle = ""
	return nil
}
