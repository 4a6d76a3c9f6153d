package fault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// BeforeAll and BeforeNAT are priorities before those of the components under test, so that a fault meets the packet first:
// netfilter's own numbers are raw -300, conntrack -200, destination NAT -100, filter 0.
const (
	BeforeAll = -310
	BeforeNAT = -110
)

// Rules computes the rules for one attempt; they name only the requirement's own addresses and ports.
type Rules func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error)

// InPodOf injects the rules in the network namespace of the pod that plays the role.
func InPodOf(role world.Role, rules Rules) requirement.Point {
	return requirement.Point{Where: "network namespace of the " + string(role), Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		target := env.Role(role)
		id, err := target.Identity(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the network namespace of %s: %w", target, err)
		}
		inode := id.Namespaces["net"]
		if inode == 0 {
			return nil, fmt.Errorf("%s does not know its network namespace", target)
		}
		if node := AgentOn(env, target.Node); node != nil && !target.HostNetwork {
			nodes, err := node.Identity(ctx)
			if err != nil {
				return nil, fmt.Errorf("reading the network namespace of %s: %w", node, err)
			}
			if err := ownKernel(target, inode, nodes.Namespaces["net"]); err != nil {
				return nil, err
			}
		}
		return inject(ctx, env, target.Node, inode, rules)
	}}
}

// ownKernel says that the number of a pod's namespace is of another kernel than the node's, where by that number the node
// would be taken for the pod; nil where nothing says so.
func ownKernel(pod fmt.Stringer, inode, nodes uint64) error {
	if inode != nodes {
		return nil
	}
	return fmt.Errorf("%s sees a network namespace of the node's own number (inode %d) and is not in it: its OCI handler runs it on a kernel of its own", pod, inode)
}

// ownStack is why nothing is injected for a pod whose network namespace the node does not know by its number: rules in the
// one that the node has for it would count packets that pass it and stop none.
func ownStack(inode uint64) error {
	return fmt.Errorf("no process on the node is in the network namespace that the pod sees (inode %d): its OCI handler gives it a network stack of its own, which the node's rules don't reach", inode)
}

// OnNodeOf injects the rules in the network namespace of the node that the role's pod runs on.
func OnNodeOf(role world.Role, rules Rules) requirement.Point {
	return requirement.Point{Where: "node of the " + string(role), Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		return inject(ctx, env, env.Role(role).Node, 0, rules)
	}}
}

// OnOneNode injects the rules in the network namespace of the last node that has an agent: a fault on
// one node alone shows that every node is looked at.
func OnOneNode(rules Rules) requirement.Point {
	return requirement.Point{Where: "one node", Inject: func(ctx context.Context, env *requirement.Env) (requirement.Injected, error) {
		nodes := env.Players.Ends(world.Node)
		if len(nodes) == 0 {
			return nil, errNoAgent
		}
		return inject(ctx, env, nodes[len(nodes)-1].Node, 0, rules)
	}}
}

// AgentOn is the agent in the node's own namespaces, which faults are injected by, nil where there is none. Every proof by a fault
// has these agents, whether the requirement declares world.Node or not.
func AgentOn(env *requirement.Env, node string) *requirement.End {
	for _, agent := range env.Players.Ends(world.Node) {
		if agent.Node == node {
			return agent
		}
	}
	return nil
}

var errNoAgent = errors.New("no privileged agent runs on that node, and faults are injected by it")

var errNoLiar = errors.New("the lying resolver does not run")

func inject(ctx context.Context, env *requirement.Env, node string, inode uint64, rules Rules) (requirement.Injected, error) {
	agent := AgentOn(env, node)
	if agent == nil {
		return nil, errNoAgent
	}
	set, err := rules(ctx, env)
	if err != nil {
		return nil, err
	}
	f := &filter{agent: agent, inode: inode, table: tableOf(env)}
	seen, err := agent.Filter(ctx, wire.Filter{Do: "add", Table: f.table, Netns: inode, Rules: set})
	if err == nil && inode != 0 && seen.Class == wire.NotThere {
		return nil, ownStack(inode)
	}
	if err := probe.Either(seen.Errno, err); err != nil {
		return nil, fmt.Errorf("injecting through %s: %w", agent, err)
	}
	return f, nil
}

// tableOf names the table: the run's own prefix, and the requirement, so that proofs run side by side.
func tableOf(env *requirement.Env) string {
	sum := sha256.Sum256([]byte(env.Requirement.ID + string(env.Family)))
	return env.World.Prefix + "-" + hex.EncodeToString(sum[:4])
}

type filter struct {
	agent  *requirement.End
	inode  uint64
	table  string
	lifted atomic.Bool
}

func (f *filter) Acted(ctx context.Context) (bool, string, error) {
	seen, err := f.agent.Filter(ctx, wire.Filter{Do: "read", Table: f.table, Netns: f.inode})
	if err := probe.Either(seen.Errno, err); err != nil {
		return false, "", fmt.Errorf("reading the counters through %s: %w", f.agent, err)
	}
	var sum uint64
	for _, n := range seen.Packets {
		sum += n
	}
	return sum > 0, fmt.Sprintf("%d packets met", sum), nil
}

func (f *filter) Lift(ctx context.Context) error {
	if f.lifted.Load() {
		return nil
	}
	seen, err := f.agent.Filter(ctx, wire.Filter{Do: "remove", Table: f.table, Netns: f.inode})
	if seen.Class == wire.NotThere {
		seen.Errno = wire.Errno{}
	}
	if err := probe.Either(seen.Errno, err); err != nil {
		return fmt.Errorf("lifting the fault through %s: %w", f.agent, err)
	}
	f.lifted.Store(true)
	return nil
}
