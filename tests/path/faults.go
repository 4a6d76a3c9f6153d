package path

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// onOnePath acts on what the last node's pod sends to the first one's at the requirement's own ports, on the first node or in its pod.
// On a cluster of one node that pod has only the one beside it to talk to.
func onOnePath(rule wire.Rule) []requirement.Point {
	at := func(hook string) fault.Rules {
		return func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
			ends := env.Roles(world.Everywhere)
			ip, err := env.IP(ends[len(ends)-1])
			if err != nil {
				return nil, err
			}
			on := rule
			on.From = ip.String()
			return dropped(hook, on)(ctx, env)
		}
	}
	return []requirement.Point{
		fault.OnNodeOf(world.Everywhere, at("forward")),
		fault.InPodOf(world.Everywhere, at("input")),
		fault.InPodOf(world.Beside, at("input")),
	}
}

// dropped drops what the rule says of what goes to the requirement's own ports.
func dropped(hook string, rule wire.Rule) fault.Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		on := rule
		on.Hook, on.Priority, on.Do = hook, fault.BeforeAll, "drop"
		on.ToPort, on.ToPortEnd = env.Base, env.Base+requirement.PortsEach-1
		return []wire.Rule{on}, nil
	}
}
