package fault

import (
	"context"
	"errors"
	"strings"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/undo"
	"github.com/parley-k8s/parley/framework/requirement"
)

// OnEveryNode injects the rules in the network namespace of every node that has an agent.
func OnEveryNode(rules Rules) requirement.Point {
	return requirement.Point{Where: "every node", Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		var all every
		for _, node := range env.Players.Ends(world.Node) {
			one, err := inject(ctx, env, node.Node, 0, rules)
			if err != nil {
				return nil, errors.Join(err, undo.Do(ctx, all.Lift))
			}
			all = append(all, one)
		}
		if len(all) == 0 {
			return nil, errNoAgent
		}
		return all, nil
	}}
}

// every is a fault at several places.
type every []requirement.Injected

// Acted is true where it acted at one place at least.
func (e every) Acted(ctx context.Context) (bool, string, error) {
	var any bool
	var hows []string
	for _, one := range e {
		acted, how, err := one.Acted(ctx)
		if err != nil {
			return false, "", err
		}
		any, hows = any || acted, append(hows, how)
	}
	return any, strings.Join(hows, ", "), nil
}

func (e every) Lift(ctx context.Context) error {
	var problems []error
	for _, one := range e {
		problems = append(problems, one.Lift(ctx))
	}
	return errors.Join(problems...)
}
