package path

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// atOnceOut is how many connections a node has open to the outside at once; the limit of the control is far below.
	atOnceOut    = 1000
	controlLimit = 100
	// openWithin bounds each.
	openWithin = 10 * time.Second
)

func manyEgress() requirement.Requirement {
	return requirement.Requirement{
		ID:    "path/many-egress",
		Title: "A pod of each node has 1,000 connections open at once to one port of a host outside the cluster, and all are served.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc5382#section-5",
			Says: "What hides many addresses behind one maps each connection by itself; how many it must bear is not said, nor by any document of " +
				"Kubernetes. A thousand is a sixtieth of the ports that a node's address has towards one port.",
		},
		Why: "Behind one address the connections of all pods of a node share its ports. A small range of them, two connections that are given one port at the same " +
			"moment, or a gateway with a limit for each client show only with many at once.",
		Needs:     []requirement.Feature{requirement.OutsideHost},
		PerNode:   true,
		Roles:     []world.Role{world.Outside, world.Near},
		PerFamily: true,
		Check:     checkManyEgress,
		Control: requirement.Control{
			Says: fmt.Sprintf("connections over %d reset on the way out", controlLimit),
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.Near, resetOver("forward")),
				fault.InPodOf(world.Near, resetOver("output")),
			}},
			Red: []requirement.Reason{requirement.Refused, requirement.Broken},
		},
	}
}

// resetOver resets connections to the requirement's own ports once there are more than the control's limit.
func resetOver(hook string) fault.Rules {
	return func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
		return []wire.Rule{{Hook: hook, Proto: "tcp", State: "new", Connections: controlLimit, ToPort: env.Base,
			ToPortEnd: env.Base + requirement.PortsEach - 1, Do: "reset"}}, nil
	}
}

func checkManyEgress(ctx context.Context, env *requirement.Env) error {
	client, outside := env.Role(world.Near), env.Role(world.Outside)
	ip, known := outside.IP(env.Family)
	if !known {
		return &requirement.Unsupported{Probed: fmt.Sprintf("the %s has no address of %s that is known to lead to it from the nodes", outside, env.Family)}
	}
	opened, err := outside.Listen(ctx, wire.Listen{Network: "tcp", Address: requirement.At(env.Any(), env.Port(0))})
	if err != nil {
		return fmt.Errorf("opening a server in the %s: %w", outside, err)
	}
	if !opened.Ok() {
		return fmt.Errorf("the %s cannot open a server: %s", outside, opened.Errno)
	}
	defer exchange.Release(ctx, outside, opened.Handle)
	at := requirement.At(ip, env.Port(0))
	return env.Until(ctx, func(ctx context.Context) error {
		got, err := client.Connect(ctx, wire.Connect{Network: "tcp", Address: at, Count: atOnceOut, Parallel: 100, Together: true,
			Timeout: int(openWithin.Milliseconds())})
		if err != nil {
			return fmt.Errorf("asking %s for %d connections: %w", client, atOnceOut, err)
		}
		if got.Tally[wire.OK] == atOnceOut {
			env.Note("%s: all opened, served and closed in %s, %d with a second SYN", env.Family, (time.Duration(got.Took) * time.Microsecond).Round(time.Millisecond), got.SYNsAgain)
			return nil
		}
		var first wire.Exchange
		for _, seen := range got.Seen {
			if !seen.Ok() {
				first = seen
				break
			}
		}
		return &requirement.Failure{Reason: requirement.ReasonOf(first.Errno), From: client, To: outside, Target: at, Protocol: "tcp",
			Expected: fmt.Sprintf("%d connections at once, all served", atOnceOut),
			Observed: fmt.Sprintf("%d served; the first that was not: %s at %s", got.Tally[wire.OK], first.Errno, first.Step)}
	})
}
