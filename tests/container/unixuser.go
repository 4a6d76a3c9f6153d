package container

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

var unixCredentials = requirement.Clause{
	URL: "https://man7.org/linux/man-pages/man7/unix.7.html",
	Says: "SO_PEERCRED and SCM_CREDENTIALS give the peer's process, user and group IDs, which the kernel itself fills in; connecting to a " +
		"path needs write permission on it, else EACCES.",
}

func unixPeerCredentials() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/unix-peer-credentials",
		Title:  "Over a unix socket of any type the kernel tells each container the UID and GID that its sibling was declared with.",
		Level:  requirement.Should,
		Clause: unixCredentials,
		Why: "PostgreSQL's peer authentication, D-Bus and many sidecars let in who the kernel says has connected. A runtime or a " +
			"user-space kernel that tells another ID lets in the wrong one.",
		PerNode: true,
		Roles:   []world.Role{world.UserA, world.UserB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			a, b := env.Role(world.UserA), env.Role(world.UserB)
			for _, network := range unixNetworks {
				for _, way := range []struct {
					from, to *requirement.End
					id       int
				}{{a, b, world.UserAID}, {b, a, world.UserBID}} {
					seen, err := exchange.Works(ctx, env, exchange.Talk{From: way.from, To: way.to, Network: network, Bind: newSocket()})
					if err != nil {
						return err
					}
					cred := seen.Witness.Cred
					if cred == nil || cred.UID != way.id || cred.GID != way.id {
						return wrongCredentials(way.from, way.to, network, fmt.Sprintf("UID and GID %d of the peer, as declared", way.id), cred)
					}
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says:    "a sibling with another UID than declared",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.UserB: world.UserC}},
			Red:     []requirement.Reason{requirement.WrongPeer},
		},
		MoreControls: []requirement.Control{
			{Says: "the other sibling with another UID than declared",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.UserA: world.UserC}},
				Red:     []requirement.Reason{requirement.WrongPeer}},
		},
	}
}

func wrongCredentials(from, to *requirement.End, network, expected string, cred *wire.Cred) error {
	observed := "no credentials"
	if cred != nil {
		observed = fmt.Sprintf("PID %d, UID %d, GID %d", cred.PID, cred.UID, cred.GID)
	}
	return &requirement.Failure{Reason: requirement.WrongPeer, From: from, To: to, Protocol: network, Expected: expected, Observed: observed}
}

func unixPeerPID() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/unix-peer-pid",
		Title: "Over a unix socket the peer's PID is the sibling's where the pod shares its PID namespace, and 0, nobody's, where " +
			"it does not.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://man7.org/linux/man-pages/man7/pid_namespaces.7.html",
			Says: "Process IDs in credentials that are passed over a unix socket are translated into the receiver's PID namespace.",
		},
		Why: "Programs look the peer up in /proc by that number. A PID of another namespace there is the PID of some innocent " +
			"process of the reader's own.",
		PerNode: true,
		Roles:   []world.Role{world.SharedPIDA, world.SharedPIDB, world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			client := env.Role(world.SharedPIDA)
			id, err := client.Identity(ctx)
			if err != nil {
				return fmt.Errorf("asking %s for its PID: %w", client, err)
			}
			if err := peerPID(ctx, env, client, env.Role(world.SharedPIDB), id.PID); err != nil {
				return err
			}
			return peerPID(ctx, env, env.Role(world.SiblingA), env.Role(world.SiblingB), 0)
		},
		Control: requirement.Control{
			Says: "siblings in PID namespaces of their own",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{
				world.SharedPIDA: world.SiblingA, world.SharedPIDB: world.SiblingB}},
			Red: []requirement.Reason{requirement.WrongPeer},
		},
		MoreControls: []requirement.Control{
			{Says: "siblings in one PID namespace where each has its own",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.SiblingA: world.SharedPIDA, world.SiblingB: world.SharedPIDB}},
				Red:     []requirement.Reason{requirement.WrongPeer}},
		},
	}
}

func peerPID(ctx context.Context, env *requirement.Env, client, server *requirement.End, pid int) error {
	for _, network := range unixNetworks {
		seen, err := exchange.Works(ctx, env, exchange.Talk{From: client, To: server, Network: network, Bind: newAbstract()})
		if err != nil {
			return err
		}
		if cred := seen.Witness.Cred; cred == nil || cred.PID != pid {
			return wrongCredentials(client, server, network, fmt.Sprintf("the peer's PID to be %d", pid), cred)
		}
	}
	return nil
}

func unixPermissions() requirement.Requirement {
	const open = "a socket of mode 0666"
	return requirement.Requirement{
		ID:     "container/unix-permissions",
		Title:  "A socket of mode 0600 admits its own container's user and refuses a sibling of another UID with EACCES.",
		Level:  requirement.Must,
		Clause: unixCredentials,
		Why: "The mode is all that guards most sockets on shared volumes. Containers that run under one UID are not kept apart by it, " +
			"those of two are.",
		PerNode: true,
		Roles:   []world.Role{world.UserA, world.UserB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			owner, other := env.Role(world.UserA), env.Role(world.UserB)
			mode := uint32(0o600)
			if env.Fixture(open) {
				mode = 0o666
			}
			for _, network := range []string{"unix", "unixpacket"} {
				if err := refusesOthers(ctx, env, network, mode, owner, other); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says:    open,
			Variant: &requirement.Variant{Fixture: open},
			Red:     []requirement.Reason{requirement.Answered},
		},
	}
}

func refusesOthers(ctx context.Context, env *requirement.Env, network string, mode uint32, owner, other *requirement.End) error {
	at := newSocket()
	server, err := owner.Listen(ctx, wire.Listen{Network: network, Address: at, Mode: mode})
	if err != nil {
		return fmt.Errorf("opening a %s server at %s in %s: %w", network, at, owner, err)
	}
	if !server.Ok() {
		return fmt.Errorf("%s cannot open a %s server at %s: %s", owner, network, at, server.Errno)
	}
	defer exchange.Release(ctx, owner, server.Handle)
	talk := exchange.Talk{From: owner, To: owner, Network: network, Dial: at}
	if _, err := exchange.Works(ctx, env, talk); err != nil {
		return err
	}
	talk.From = other
	seen, err := exchange.Once(ctx, env, talk)
	if err != nil || seen.Class == wire.Denied {
		return err
	}
	reason, observed := requirement.ReasonOf(seen.Errno), seen.Errno.String()
	if seen.Ok() {
		reason, observed = requirement.Answered, "an answer by "+seen.Witness.Who
	}
	return &requirement.Failure{Reason: reason, From: other, To: owner, Target: at, Protocol: network,
		Expected: "EACCES on connecting to a socket of mode 0600", Observed: observed, Again: "ls -ln " + world.SharedPath}
}

func unixGroup() requirement.Requirement {
	return requirement.Requirement{
		ID:    "container/unix-permissions-group",
		Title: "A socket of mode 0660 on an emptyDir admits a sibling of another UID through the pod's fsGroup, in both directions.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
			Says: "With fsGroup all processes of the containers are in that supplementary group, and it owns the volume and the files " +
				"that are made in it.",
		},
		Why: "It is how containers that run under two UIDs share a socket without opening it to everybody. It takes both: the group " +
			"on the volume, with its set-group-ID bit, and the group in each process.",
		PerNode: true,
		Roles:   []world.Role{world.UserA, world.UserB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			a, b := env.Role(world.UserA), env.Role(world.UserB)
			for _, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
				_, err := exchange.Works(ctx, env, exchange.Talk{From: way.from, To: way.to, Network: "unix", Bind: newSocket(), Mode: 0o660})
				if err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "no fsGroup",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{
				world.UserA: world.NoGroupA, world.UserB: world.NoGroupB}},
			Red: []requirement.Reason{requirement.Denied},
		},
	}
}

func unixHostPath() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/unix-hostpath",
		Title: "A socket on a hostPath is usable by another pod of the same node, in both directions, and is not there for a pod " +
			"on another node.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/storage/volumes/#hostpath",
			Says: "A hostPath volume mounts a file or directory of the node's file system, a unix socket as well; pods on different nodes " +
				"find what their own node has.",
		},
		Why: "CSI and device plugins, runtimes and node agents of meshes listen on the node so. Two pods that land on two nodes do not " +
			"meet there, which looks like a dead server.",
		PodSecurity: "privileged",
		PerNode:     true,
		Roles:       []world.Role{world.HostDirA, world.HostDirB},
		Wants:       []world.Role{world.HostDirFar},
		Check:       checkHostPath,
		Control: requirement.Control{
			Says:    "pods on two nodes",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.HostDirB: world.HostDirFar}},
			Red:     []requirement.Reason{requirement.NotShared},
		},
		MoreControls: []requirement.Control{
			{Says: "the pod on the other node in place of both",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.HostDirA: world.HostDirFar, world.HostDirB: world.HostDirFar}},
				Red:     []requirement.Reason{requirement.Leaked}, Wants: []world.Role{world.HostDirFar}},
		},
	}
}

func checkHostPath(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.HostDirA), env.Role(world.HostDirB)
	far := env.RolesAsDeployed(world.HostDirFar)
	if len(far) == 0 {
		env.Note("not looked for on another node: there is none that takes the pod")
	}
	for _, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
		at := newSocket()
		server, err := bind(ctx, way.to, "unix", at)
		if err != nil {
			return err
		}
		if !server.Ok() {
			return fmt.Errorf("%s cannot open a socket on the hostPath: %s", way.to, server.Errno)
		}
		defer exchange.Release(ctx, way.to, server.Handle)
		if _, err := exchange.Works(ctx, env, exchange.Talk{From: way.from, To: way.to, Network: "unix", Dial: at}); err != nil {
			return err
		}
		for _, stranger := range far {
			seen, err := exchange.Once(ctx, env, exchange.Talk{From: stranger, To: way.to, Network: "unix", Dial: at})
			if err != nil {
				return err
			}
			if seen.Class != wire.NotThere {
				return &requirement.Failure{Reason: requirement.Leaked, From: stranger, To: way.to, Target: at, Protocol: "unix",
					Expected: "no socket there on another node", Observed: seen.Errno.String()}
			}
		}
	}
	return nil
}
