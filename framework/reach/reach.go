// Package reach finds out which nodes a host outside the cluster can reach at all: a check of what the outside sees says nothing of a node
// that no packet of the outside gets to.
package reach

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Node is a node, its address of the family in force, and who dials it.
type Node struct {
	Name string
	IP   netip.Addr
	From *requirement.End
}

// knocks is how often a port is tried before its silence is believed.
const knocks = 3

// witness is a port of a node that tells whether packets from outside get there.
type witness struct {
	// plain is a server in the node's own namespaces, where no Service is involved; one of a Service has passed the node's proxy too.
	plain    bool
	answered bool
	says     string // what was probed and what came of it
}

// sight is what the host outside sees of a node.
type sight struct {
	Node
	witnesses []witness
}

func (s sight) seen(plain bool) bool {
	return slices.ContainsFunc(s.witnesses, func(w witness) bool { return w.answered && (!plain || w.plain) })
}

func (s sight) String() string {
	var says []string
	for _, w := range s.witnesses {
		says = append(says, w.says)
	}
	return s.Name + " (" + strings.Join(says, ", ") + ")"
}

// sortSights says which nodes are judged from outside, and which are not because nothing of the outside gets there. A node whose plain ports
// are silent counts as reached where those of all are, and the node port of some answers: a firewall then lets node ports through alone.
func sortSights(all []sight) (reached, unreached []sight) {
	plain := slices.ContainsFunc(all, func(s sight) bool { return s.seen(true) })
	some := slices.ContainsFunc(all, func(s sight) bool { return s.seen(false) })
	for _, s := range all {
		if s.seen(false) || some && !plain {
			reached = append(reached, s)
		} else {
			unreached = append(unreached, s)
		}
	}
	return reached, unreached
}

// Beside says whether the host outside is known to stand on the nodes' own network, as beside a cluster that was made here. A node that
// it does not reach is a finding then. This machine, beside a cluster of the user's, may be anywhere.
func Beside(env *requirement.Env) bool {
	_, known := env.Role(world.Outside).IP(env.Family)
	return known
}

// Judged are those of the nodes that are judged from outside, each with who dials it. Where the host outside reaches none, an agent in
// another node's network takes its place: its packets, too, come in to the node from the wire. port is as for FromOutside. The error is
// *requirement.Unsupported where nobody can dial any.
func Judged(ctx context.Context, env *requirement.Env, nodes []Node, protocol string, port int) ([]Node, error) {
	far, why, err := FromOutside(ctx, env, nodes, protocol, port)
	if err != nil || why == "" {
		return far, err
	}
	return standIns(env, nodes, why)
}

// FromOutside are those of the nodes that the host outside itself reaches; where it reaches some, the others are noted, and where none, why
// says what was probed. port is one that the nodes' proxies have to answer on every node over the protocol, 0 where there is none. The
// requirement declares world.Outside and world.Node.
func FromOutside(ctx context.Context, env *requirement.Env, nodes []Node, protocol string, port int) (far []Node, why string, err error) {
	nodes = slices.Clone(nodes)
	for i := range nodes {
		nodes[i].From = env.Role(world.Outside)
	}
	if Beside(env) {
		return nodes, "", nil
	}
	if why := env.Players.WhyAbsent(nodesFromOutside(env, protocol, port)); why != "" {
		return nil, why, nil
	}
	all, err := lookAt(ctx, env, nodes, protocol, port)
	if err != nil {
		return nil, "", err
	}
	seen, unseen := sortSights(all)
	if len(seen) == 0 {
		why := fmt.Sprintf("this machine reaches no node over %s and %s: %s", protocol, env.Family, sights(unseen))
		env.Players.MarkAbsent(nodesFromOutside(env, protocol, port), why)
		return nil, why, nil
	}
	if len(unseen) > 0 {
		env.Note("%s %s: judged through %s alone: this machine does not reach %s", env.Family, protocol, names(seen), sights(unseen))
	}
	for _, s := range seen {
		far = append(far, s.Node)
	}
	return far, "", nil
}

// nodesFromOutside is that the host outside reaches the nodes over the protocol and the family in force: their node ports, or for port 0
// any port. It is kept when it does not.
func nodesFromOutside(env *requirement.Env, protocol string, port int) requirement.Feature {
	what := "node ports"
	if port == 0 {
		what = "nodes"
	}
	return requirement.Feature(fmt.Sprintf("%s: %s over %s and %s", requirement.OutsideHost, what, protocol, env.Family))
}

func names(all []sight) string {
	var each []string
	for _, s := range all {
		each = append(each, s.Name)
	}
	return strings.Join(each, ", ")
}

func sights(all []sight) string {
	var each []string
	for _, s := range all {
		each = append(each, s.String())
	}
	return strings.Join(each, ", ")
}

// standIns has each node dialled by the agent of another node, in place of the host outside that reaches none for the reason why.
func standIns(env *requirement.Env, nodes []Node, why string) (all []Node, err error) {
	agents := env.Roles(world.Node)
	for _, node := range nodes {
		if i := slices.IndexFunc(agents, func(a *requirement.End) bool { return a.Node != node.Name }); i >= 0 {
			node.From = agents[i]
			all = append(all, node)
		}
	}
	if len(all) == 0 {
		return nil, &requirement.Unsupported{Probed: fmt.Sprintf("%s; and no node's own agent can take its place: %d run on %d nodes", why, len(agents), len(nodes))}
	}
	env.Note("%s; the nodes' own agents took its place, each node dialled from another", why)
	return all, nil
}

// lookAt has the host outside look at the nodes, side by side.
func lookAt(ctx context.Context, env *requirement.Env, nodes []Node, protocol string, port int) ([]sight, error) {
	all := make([]sight, len(nodes))
	group, ctx := errgroup.WithContext(ctx)
	for i, node := range nodes {
		group.Go(func() (err error) {
			all[i] = sight{Node: node}
			all[i].witnesses, err = witnesses(ctx, env, node, protocol, port)
			return err
		})
	}
	return all, group.Wait()
}

func witnesses(ctx context.Context, env *requirement.Env, node Node, protocol string, port int) (all []witness, err error) {
	var probes []func(context.Context) (witness, error)
	if agent := env.OnNode(world.Node, node.Name); agent != nil {
		probes = append(probes, func(ctx context.Context) (witness, error) { return listener(ctx, env, agent, node, protocol) })
	}
	if protocol == "tcp" {
		probes = append(probes, func(ctx context.Context) (witness, error) {
			kubelet, err := kubeletPort(ctx, env, node.Name)
			if err != nil {
				return witness{}, err
			}
			return tried(ctx, env, wire.Connect{Network: "tcp", Address: requirement.At(node.IP, kubelet), Knock: true}, "the kubelet", true)
		})
	}
	if port != 0 {
		probes = append(probes, func(ctx context.Context) (witness, error) {
			return tried(ctx, env, wire.Connect{Network: protocol, Address: requirement.At(node.IP, port), Knock: protocol == "tcp"}, "the node port", false)
		})
	}
	all = make([]witness, len(probes))
	group, ctx := errgroup.WithContext(ctx)
	for i, probe := range probes {
		group.Go(func() (err error) {
			all[i], err = probe(ctx)
			return err
		})
	}
	return all, group.Wait()
}

// probePort is the requirement's port, of sixteen, on which a plain server is opened in a node.
const probePort = 15

// listener opens a plain server in the node and has the host outside dial it.
func listener(ctx context.Context, env *requirement.Env, agent *requirement.End, node Node, protocol string) (witness, error) {
	at := requirement.At(node.IP, env.Port(probePort))
	opened, err := agent.Listen(ctx, wire.Listen{Network: protocol, Address: at})
	if err == nil && !opened.Ok() {
		err = errors.New(opened.Errno.String())
	}
	if err != nil {
		return witness{}, fmt.Errorf("opening a server at %s in %s: %w", at, agent, err)
	}
	defer exchange.Release(ctx, agent, opened.Handle)
	return tried(ctx, env, wire.Connect{Network: protocol, Address: at}, "a plain listener", true)
}

// tried has the host outside dial until it is answered, a few times.
func tried(ctx context.Context, env *requirement.Env, dial wire.Connect, what string, plain bool) (witness, error) {
	answered, says, err := Tried(ctx, env, env.Role(world.Outside), dial)
	return witness{plain: plain, answered: answered, says: what + " at " + says}, err
}

// Tried has the client dial until it is answered, a few times, and says what came of it: "192.0.2.1:80: refused".
func Tried(ctx context.Context, env *requirement.Env, client *requirement.End, dial wire.Connect) (answered bool, says string, err error) {
	dial.Timeout = int(env.Attempt / time.Millisecond)
	for range knocks {
		got, err := client.Connect(ctx, dial)
		if err == nil && len(got.Seen) != 1 {
			err = fmt.Errorf("%d attempts reported", len(got.Seen))
		}
		if err != nil {
			return false, "", fmt.Errorf("asking %s to dial %s: %w", client, dial.Address, err)
		}
		says = fmt.Sprintf("%s: %s", dial.Address, got.Seen[0].Errno)
		if got.Seen[0].Ok() {
			return true, says, nil
		}
	}
	return false, says, nil
}

// kubeletPort is the node's kubelet's port, which it listens on at the node's addresses.
func kubeletPort(ctx context.Context, env *requirement.Env, name string) (int, error) {
	node, err := env.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("reading Node %s: %w", name, err)
	}
	return int(node.Status.DaemonEndpoints.KubeletEndpoint.Port), nil
}
