package external

import (
	"context"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func nodePortTCP() requirement.Requirement {
	return requirement.Requirement{
		ID: "external/nodeport-tcp",
		Title: "A TCP NodePort answers a host outside the cluster on every node's address, whether the Service has an endpoint " +
			"on that node or not.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport",
			Says: "Every node in the cluster listens on the node port and forwards to one of the Service's ready endpoints.",
		},
		Why: "Load balancers in front of a cluster send to any node. One node that is silent loses its share of the requests, " +
			"and only for clients outside.",
		Needs:     []requirement.Feature{requirement.OutsideIs},
		Roles:     []world.Role{world.Outside, world.Node, world.WebNear},
		Services:  []world.Service{world.NodePort},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			client, server := env.Role(world.Outside), env.Role(world.WebNear)
			port := nodePort(env)
			for _, node := range env.Roles(world.Node) {
				ip, err := env.IP(node)
				if err != nil {
					return err
				}
				seen, err := exchange.Works(ctx, env, exchange.Talk{From: client, To: server, Network: "tcp", Dial: requirement.At(ip, port)})
				if err != nil {
					if f := requirement.AsFailure(err); f != nil {
						f.Expected += " through node " + node.Node
					}
					return err
				}
				env.Note("%s through %s: the endpoint saw the client %s as %s", env.Family, node.Node, seen.Local, seen.Witness.Remote)
			}
			return nil
		},
		Control: requirement.Control{
			Says: "the node port dropped on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(func(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
					return []wire.Rule{{Hook: "prerouting", Priority: fault.BeforeAll, Proto: "tcp", ToPort: nodePort(env), Do: "drop"}}, nil
				}),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func nodePort(env *requirement.Env) int {
	return int(env.Service(world.NodePort).Spec.Ports[0].NodePort)
}
