package requirement_test

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// echoCrossNode is the worked example of docs/adding-a-requirement.md.
func echoCrossNode() requirement.Requirement {
	return requirement.Requirement{
		ID:    "shop/echo-cross-node",
		Title: "A pod gets back from a pod on another node, over TCP, the 64 bytes that it sent.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/services-networking/#the-kubernetes-network-model",
			Says: "Pods reach all other pods directly, on the same node or on another.",
		},
		Why: "The shop's front end and its cart run on different nodes. " +
			"A tunnel, a route or a host firewall that is wrong breaks it.",
		Needs:     []requirement.Feature{requirement.TwoNodes},
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.Far},
		PerFamily: true,
		Check:     checkEcho,
		Control: requirement.Control{
			Says: "TCP dropped on its way into the server's pod",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Far, fault.DropOwnPorts("input", "tcp")),
				fault.OnNodeOf(world.Far, fault.DropOwnPorts("forward", "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func checkEcho(ctx context.Context, env *requirement.Env) error {
	client, server := env.Role(world.SiblingA), env.Role(world.Far)
	ip, err := env.IP(server)
	if err != nil {
		return err
	}
	port := env.Port(0)
	_, err = exchange.Works(ctx, env, exchange.Talk{
		From: client, To: server, Network: "tcp", Bytes: 64,
		Bind: requirement.At(env.Any(), port), Dial: requirement.At(ip, port),
	})
	return err
}

// A requirement is one value: its sentence, its source, the roles it talks between, its check and its control.
func Example() {
	q := echoCrossNode()
	fmt.Println(q.ID, q.Level)
	fmt.Println(q.Control.Kind()+":", q.Control.Says)
	fmt.Println(requirement.Validate([]requirement.Requirement{q}))
	// Output:
	// shop/echo-cross-node MUST
	// fault: TCP dropped on its way into the server's pod
	// <nil>
}

// What a requirement lacks is said before anything runs.
func ExampleValidate() {
	q := echoCrossNode()
	q.Control = requirement.Control{}
	fmt.Println(requirement.Validate([]requirement.Requirement{q}))
	// Output:
	// shop/echo-cross-node: the control is either a variant or a fault
	// shop/echo-cross-node: nothing says what the control changes
	// shop/echo-cross-node: nothing says for what reason its control must turn it red
}
