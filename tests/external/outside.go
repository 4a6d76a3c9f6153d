package external

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/reach"
	"github.com/parley-k8s/parley/framework/requirement"
)

// machine is a node and its address of the family in force.
type machine struct {
	name string
	ip   netip.Addr
	from *requirement.End // who dials it, where reached chose it
}

// machines are all ready nodes of the cluster, also those that take no pods of the suite: the outside may send to any.
func machines(ctx context.Context, env *requirement.Env) (all []machine, err error) {
	nodes, err := env.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	for _, n := range nodes.Items {
		ready := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
		if !ready {
			continue
		}
		for _, a := range n.Status.Addresses {
			ip, err := netip.ParseAddr(a.Address)
			if err == nil && a.Type == corev1.NodeInternalIP && ip.Is4() == (env.Family == corev1.IPv4Protocol) {
				all = append(all, machine{name: n.Name, ip: ip})
				break
			}
		}
	}
	if len(all) == 0 {
		return nil, &requirement.Unsupported{Probed: fmt.Sprintf("no ready node has an InternalIP of %s", env.Family)}
	}
	return all, nil
}

// split are the machine of that name, where the endpoint runs, and the others.
func split(env *requirement.Env, all []machine, name string) (of machine, others []machine, err error) {
	found := false
	for _, m := range all {
		if m.name == name {
			of, found = m, true
		} else {
			others = append(others, m)
		}
	}
	switch {
	case !found && !reach.Beside(env):
		return of, nil, &requirement.Unsupported{Probed: fmt.Sprintf("this machine does not reach node %s, where the endpoint runs, or it is not ready", name)}
	case !found:
		return of, nil, fmt.Errorf("node %s, where the endpoint runs, is not among the ready nodes", name)
	}
	return of, others, nil
}

// nodePort is the Service's node port of the protocol, 0 where it has none.
func nodePort(env *requirement.Env, service world.Service, protocol string) int {
	for _, p := range env.Service(service).Spec.Ports {
		if strings.EqualFold(string(p.Protocol), protocol) {
			return int(p.NodePort)
		}
	}
	return 0
}

// through adds to a failure which node was dialled.
func through(err error, node string) error {
	if f := requirement.AsFailure(err); f != nil {
		f.Expected += " through node " + node
	}
	return err
}

// asSeenBy is the client's address as the node itself sees it, without any Service between: what translates on the way
// from this machine to a cluster of the user's is no matter of the cluster's. It is own where the node has no agent, or
// does not admit the client to an ordinary port.
func asSeenBy(ctx context.Context, env *requirement.Env, client *requirement.End, node machine, own netip.Addr) netip.Addr {
	agent := env.OnNode(world.Node, node.name)
	if agent == nil {
		return own
	}
	opened, err := agent.Listen(ctx, wire.Listen{Network: "tcp", Address: requirement.At(node.ip, env.Port(15))})
	if err != nil || !opened.Ok() {
		return own
	}
	defer exchange.Release(ctx, agent, opened.Handle)
	seen, err := exchange.Once(ctx, env, exchange.Talk{From: client, To: agent, Network: "tcp", Dial: requirement.At(node.ip, env.Port(15))})
	if err != nil || !seen.Ok() || seen.Witness == nil {
		return own
	}
	return exchange.Addr(seen.Witness.Remote)
}

// makeService makes a Service of the check's own, which is removed after it. The error of an API server that refuses it can be
// asked about with apierrors.
func makeService(ctx context.Context, env *requirement.Env, service *corev1.Service) (*corev1.Service, error) {
	return requirement.Own(ctx, env, env.Kube.CoreV1().Services(service.Namespace), service)
}

func removeService(ctx context.Context, env *requirement.Env, service *corev1.Service) error {
	err := env.Kube.CoreV1().Services(service.Namespace).Delete(ctx, service.Name, metav1.DeleteOptions{})
	if requirement.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing the Service %s: %w", service.Name, err)
	}
	return nil
}
