package fault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/undo"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// StaleTracked puts an entry into the connection tracking of the role's node: what the role sends over UDP from the n-th of
// the requirement's own ports to the virtual IP, the first of the ends that the check names at its middle, goes to the second
// end at targetPort, whether it lives or not; or nowhere else than to the virtual IP itself where targetPort is 0. What
// the entry sends there is counted. It is put again and again until the fault is lifted: a proxy that sees any change of UDP
// endpoints clears what leads nowhere.
func StaleTracked(role world.Role, n, servicePort, targetPort int) requirement.Point {
	return requirement.Point{Where: "connection tracking of the node of the " + string(role), Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		client := env.Role(role)
		agent := AgentOn(env, client.Node)
		if agent == nil {
			return nil, errNoAgent
		}
		own, err := env.IP(client)
		if err != nil {
			return nil, err
		}
		virtual, err := middleIP(env)
		if err != nil {
			return nil, err
		}
		put := wire.Conntrack{Do: "put", Proto: "udp", From: requirement.At(own, env.Port(n)), To: requirement.At(virtual, servicePort)}
		// After destination NAT (-100): the address is that of the endpoint by then.
		count := wire.Rule{Hook: "prerouting", Priority: -90, Proto: "udp", From: own.String(), FromPort: env.Port(n), To: virtual.String(), Do: "count"}
		if targetPort != 0 {
			ends := env.MidwayEnds()
			if len(ends) < 2 {
				return nil, errors.New("the check named no dead endpoint at its middle")
			}
			dead, err := env.IP(ends[1])
			if err != nil {
				return nil, err
			}
			put.Endpoint, count.To = requirement.At(dead, targetPort), dead.String()
		}
		counted, err := inject(ctx, env, client.Node, 0, func(context.Context, *requirement.Env) ([]wire.Rule, error) { return []wire.Rule{count}, nil })
		if err != nil {
			return nil, err
		}
		t := &tracked{Injected: counted, agent: agent, entry: put}
		seen, err := agent.Conntrack(ctx, put)
		if err := probe.Either(seen.Errno, err); err != nil {
			return nil, errors.Join(fmt.Errorf("putting a connection into the tracking of %s: %w", client.Node, err), undo.Do(ctx, t.Lift))
		}
		ctx, t.stop = context.WithCancel(context.WithoutCancel(ctx))
		t.putting.Go(func() {
			for until.Idle(ctx, putEvery) == nil {
				if _, err := agent.Conntrack(ctx, put); err != nil {
					return
				}
			}
		})
		return t, nil
	}}
}

// putEvery is much shorter than the time in which a check sees that it is not answered.
const putEvery = 100 * time.Millisecond

// tracked is an entry, with a rule that counts what it sends astray.
type tracked struct {
	requirement.Injected
	agent *requirement.End
	entry wire.Conntrack

	stop    context.CancelFunc
	putting sync.WaitGroup
}

func (t *tracked) Lift(ctx context.Context) error {
	if t.stop != nil {
		t.stop()
	}
	t.putting.Wait()
	forget := wire.Conntrack{Do: "forget", Proto: t.entry.Proto, From: t.entry.From, To: t.entry.To}
	seen, err := t.agent.Conntrack(ctx, forget)
	if err := probe.Either(seen.Errno, err); err != nil {
		return fmt.Errorf("having %s forget the connection: %w", t.agent, err)
	}
	return t.Injected.Lift(ctx)
}
