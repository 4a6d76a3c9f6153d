package container

import (
	"context"
	"path"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

var podsShareVolumes = requirement.Clause{
	URL:  "https://kubernetes.io/docs/concepts/storage/volumes/#emptydir",
	Says: "All containers of a pod can read and write the same files in an emptyDir, at whatever path each mounts it.",
}

func unixStream() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/unix-stream",
		Title:  "A stream socket at a path on a shared emptyDir carries a conversation between two containers, in both directions.",
		Level:  requirement.Must,
		Clause: podsShareVolumes,
		Why: "CSI and device plugins, service meshes and databases put their sockets on a shared volume. A file that can be read is not " +
			"enough: the socket's inode has to be the very same one, so some layered or virtual file systems break it.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
			for _, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
				_, err := exchange.Works(ctx, env, exchange.Talk{From: way.from, To: way.to, Network: "unix", Bytes: 64 * 1024,
					Bind: path.Join(world.SharedPath, newName()+".sock"), Mode: 0o666})
				if err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "the volume not shared: each container mounts another",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{
				world.SiblingA: world.TwoVolumesA, world.SiblingB: world.TwoVolumesB}},
			Red: []requirement.Reason{requirement.NotShared},
		},
	}
}
