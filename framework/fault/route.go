package fault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/undo"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// StaleRoute has the node of the role lose what goes to the end that the check names at its middle: a route of the run's
// own to that one address leads nowhere. What the role's pod sends there is counted.
func StaleRoute(role world.Role, proto string, port int) requirement.Point {
	return requirement.Point{Where: "routes of the node of the " + string(role), Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		client := env.Role(role)
		agent := AgentOn(env, client.Node)
		if agent == nil {
			return nil, errNoAgent
		}
		to, err := middleIP(env)
		if err != nil {
			return nil, err
		}
		counted, err := inject(ctx, env, client.Node, 0, func(context.Context, *requirement.Env) ([]wire.Rule, error) {
			return []wire.Rule{{Hook: "prerouting", Priority: BeforeAll, Proto: proto, To: to.String(), ToPort: port, Do: "count"}}, nil
		})
		if err != nil {
			return nil, err
		}
		seen, err := agent.Route(ctx, wire.Route{Do: "add", To: to.String(), Kind: "blackhole"})
		if err := probe.Either(seen.Errno, err); err != nil {
			return nil, errors.Join(fmt.Errorf("adding a route to %s through %s: %w", to, agent, err), undo.Do(ctx, counted.Lift))
		}
		return &route{Injected: counted, agent: agent, to: to}, nil
	}}
}

// DropToMiddle drops what goes to the port of the end that the check names at its middle.
func DropToMiddle(hook, proto string, port int) Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		to, err := middleIP(env)
		if err != nil {
			return nil, err
		}
		return []wire.Rule{{Hook: hook, Priority: BeforeAll, Proto: proto, To: to.String(), ToPort: port, Do: "drop"}}, nil
	}
}

func middleIP(env *requirement.Env) (netip.Addr, error) {
	ends := env.MidwayEnds()
	if len(ends) == 0 {
		return netip.Addr{}, errors.New("the check named nobody at its middle")
	}
	return env.IP(ends[0])
}

// route is a route with a rule that counts what it is for.
type route struct {
	requirement.Injected
	agent *requirement.End
	to    netip.Addr
}

func (r *route) Lift(ctx context.Context) error {
	seen, err := r.agent.Route(ctx, wire.Route{Do: "remove", To: r.to.String()})
	if seen.Class == wire.NotThere {
		seen.Errno = wire.Errno{}
	}
	if err := probe.Either(seen.Errno, err); err != nil {
		return fmt.Errorf("removing the route to %s through %s: %w", r.to, r.agent, err)
	}
	return r.Injected.Lift(ctx)
}
