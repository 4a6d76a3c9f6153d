package container

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// unixTypes are the socket types besides stream; a row differs in nothing else.
var unixTypes = []struct{ id, says, network, why string }{
	{"unix-datagram", "datagram", "unixgram", "Loggers (/dev/log) and systemd's notification protocol use it; the answer goes to a second socket that the client binds on the volume."},
	{"unix-seqpacket", "seqpacket", "unixpacket", "Protocols that want connections and message boundaries in one use it; some user-space kernels lack it."},
}

func unixSockets() []requirement.Requirement {
	var all []requirement.Requirement
	for _, t := range unixTypes {
		r := unixStream()
		r.ID = "container/" + t.id
		r.Title = "A " + t.says + " socket at a path on a shared emptyDir carries messages between two containers, each whole, in both directions."
		r.Why = t.why
		r.Check = func(ctx context.Context, env *requirement.Env) error {
			a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
			for _, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
				for _, size := range datagramSizes {
					_, err := exchange.Works(ctx, env, exchange.Talk{From: way.from, To: way.to, Network: t.network, Bytes: size, Bind: newSocket()})
					if err != nil {
						return err
					}
				}
			}
			return nil
		}
		all = append(all, r)
	}
	return all
}

// newSocket is a path on the shared volume, newAbstract an abstract name, that nobody else chose.
func newSocket() string   { return path.Join(world.SharedPath, newName()+".sock") }
func newAbstract() string { return "@" + strings.TrimPrefix(newName(), "/") }

// unixNetworks are the networks of all unix socket types.
var unixNetworks = []string{"unix", "unixgram", "unixpacket"}

var abstractNames = requirement.Clause{
	URL:  "https://man7.org/linux/man-pages/man7/network_namespaces.7.html",
	Says: "A network namespace has its own abstract unix socket names; a pod's containers share one network namespace, and a hostNetwork pod uses the node's.",
}

func abstractSocket() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/abstract-socket",
		Title: "An abstract unix socket of one container is there for its sibling, in both directions and for every socket type, and not " +
			"for another pod nor the node.",
		Level:  requirement.Must,
		Clause: abstractNames,
		Why: "It needs no volume, and no permission guards it: who is in the network namespace may connect. " +
			"So it is convenient within a pod, and a hole if it reaches beyond.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB, world.Near},
		Wants:   []world.Role{world.Node},
		Check: func(ctx context.Context, env *requirement.Env) error {
			a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
			strangers := env.RolesAsDeployed(world.Near)
			if node := env.OnNode(world.Node, a.Node); node != nil {
				strangers = append(strangers, node)
			} else {
				env.Note("not tried from the node itself: no agent is admitted there")
			}
			for _, network := range unixNetworks {
				for _, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
					if err := abstract(ctx, env, network, way.to, way.from, strangers...); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says:    "two pods in place of two containers of one",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingB: world.Near}},
			Red:     []requirement.Reason{requirement.Refused},
		},
		MoreControls: []requirement.Control{
			{Says: "the other pod in place of both containers",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingA: world.Near, world.SiblingB: world.Near}},
				Red:     []requirement.Reason{requirement.Leaked}},
			{Says: "the sibling in place of the node",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Node: world.SiblingB}},
				Red:     []requirement.Reason{requirement.Leaked}, Wants: []world.Role{world.Node}},
		},
	}
}

func hostNetworkAbstractSocket() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/host-network-abstract-socket",
		Title: "A hostNetwork pod shares the node's abstract unix sockets, in both directions, and an ordinary pod on the node " +
			"neither reaches them nor sees their names.",
		Level:  requirement.Must,
		Clause: abstractNames,
		Why: "containerd's shims once listened on such sockets, and any hostNetwork container could take over the node (CVE-2020-15257): " +
			"hostNetwork gives more than the network. Ordinary pods must stay outside.",
		PodSecurity: "privileged",
		PerNode:     true,
		Roles:       []world.Role{world.HostNetwork, world.Near, world.Node},
		Check: func(ctx context.Context, env *requirement.Env) error {
			pod, stranger := env.Role(world.HostNetwork), env.Role(world.Near)
			node := env.OnNode(world.Node, pod.Node)
			if node == nil {
				return &requirement.Unsupported{Probed: "no agent is admitted on the node " + pod.Node + " itself"}
			}
			for _, way := range []struct{ from, to *requirement.End }{{pod, node}, {node, pod}} {
				if err := abstract(ctx, env, "unix", way.to, way.from, stranger); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says:    "a hostNetwork pod in place of the ordinary one",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Near: world.HostNetwork}},
			Red:     []requirement.Reason{requirement.Leaked},
		},
		MoreControls: []requirement.Control{
			{Says: "an ordinary pod in place of the hostNetwork pod",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.HostNetwork: world.Near}},
				Red:     []requirement.Reason{requirement.Refused}},
		},
	}
}

// abstract opens an abstract socket in the server, which the client reaches and the strangers don't.
func abstract(ctx context.Context, env *requirement.Env, network string, server, client *requirement.End, strangers ...*requirement.End) error {
	name := newAbstract()
	open, err := bind(ctx, server, network, name)
	if err != nil {
		return err
	}
	if !open.Ok() {
		return fmt.Errorf("%s cannot open the %s socket %s: %s", server, network, name, open.Errno)
	}
	defer exchange.Release(ctx, server, open.Handle)
	if _, err := exchange.Works(ctx, env, exchange.Talk{From: client, To: server, Network: network, Dial: name}); err != nil {
		return err
	}
	for _, stranger := range strangers {
		leaked := func(observed string) error {
			return &requirement.Failure{Reason: requirement.Leaked, From: stranger, To: server, Target: name, Protocol: network,
				Expected: "no trace of the socket", Observed: observed, Again: "ss -xl in both network namespaces"}
		}
		seen, err := exchange.Once(ctx, env, exchange.Talk{From: stranger, To: server, Network: network, Dial: name})
		if err != nil {
			return err
		}
		if seen.Ok() {
			return leaked("an answer by " + seen.Witness.Who)
		}
		listed, err := stranger.File(ctx, wire.File{Do: "read", Path: "/proc/net/unix"})
		if err != nil {
			return fmt.Errorf("reading the unix sockets that %s sees: %w", stranger, err)
		}
		if strings.Contains(string(listed.Data), name) {
			return leaked("its name in /proc/net/unix")
		}
	}
	return nil
}

func unixDescriptorPassing() requirement.Requirement {
	return requirement.Requirement{
		ID:    "container/unix-fd-passing",
		Title: "An open descriptor that one container passes over a unix socket its sibling reads and writes through, in both directions.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://man7.org/linux/man-pages/man7/unix.7.html",
			Says: "SCM_RIGHTS hands an open file description to the other process, which uses it as its own.",
		},
		Why: "Service meshes pass connections so, device and storage plugins pass devices, compositors pass memory. The file here has no " +
			"path at all: only the descriptor leads to it.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
			for _, way := range []struct{ giver, taker *requirement.End }{{a, b}, {b, a}} {
				if err := passes(ctx, way.giver, way.taker); err != nil {
					return err
				}
			}
			return nil
		},
		Control: unixStream().Control,
	}
}

func passes(ctx context.Context, giver, taker *requirement.End) error {
	socket, data := newSocket(), make([]byte, 64*1024)
	rand.Read(data)
	take, err := taker.Descriptor(ctx, wire.Descriptor{Do: "take", Path: socket})
	if err != nil {
		return fmt.Errorf("asking %s to take a descriptor: %w", taker, err)
	}
	if !take.Ok() {
		return fmt.Errorf("%s cannot listen at %s: %s", taker, socket, take.Errno)
	}
	defer exchange.Release(ctx, taker, take.Handle)
	given, err := giver.Descriptor(ctx, wire.Descriptor{Do: "give", Path: socket, Data: data, Timeout: 2500})
	if err != nil {
		return fmt.Errorf("asking %s to pass a descriptor: %w", giver, err)
	}
	fail := func(reason requirement.Reason, observed string) error {
		return &requirement.Failure{Reason: reason, From: giver, To: taker, Target: socket, Protocol: "SCM_RIGHTS",
			Expected: "the sibling to read and write through the descriptor", Observed: observed}
	}
	who, err := taker.Hostname(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	switch {
	case !given.Ok():
		return fail(requirement.ReasonOf(given.Errno), given.Errno.String())
	case given.Witness == nil || given.Witness.SHA256 != hex.EncodeToString(sum[:]):
		return fail(requirement.Broken, "other bytes read through it")
	case given.Witness.Who != who:
		return fail(requirement.WrongPeer, "it used by "+given.Witness.Who)
	}
	return nil
}
