package container

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func volumeMemory() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/volume-memory",
		Title: "An emptyDir of medium Memory is a tmpfs in both containers, carries files in both directions, and takes no more than its " +
			"sizeLimit.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/storage/volumes/#emptydir",
			Says: "With emptyDir.medium Memory the volume is a tmpfs; with a sizeLimit it takes that much at most, and what is written " +
				"counts against the memory of the container that wrote it.",
		},
		Why: "Secrets that must not touch a disk and buffers that must be fast go there. A medium that is quietly ignored leaves them on the " +
			"node's disk, and a limit that is lets one container take the node's memory.",
		PerNode: true,
		Roles:   []world.Role{world.MemoryA, world.MemoryB},
		Check:   checkVolumeMemory,
		Control: requirement.Control{
			Says:    "the default medium",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.MemoryA: world.DiskA, world.MemoryB: world.DiskB}},
			// Where a sandbox hides what the volume lies on, it is the limit that the default medium has not.
			Red: []requirement.Reason{requirement.WrongSetting, requirement.Unbounded},
		},
		MoreControls: []requirement.Control{
			{Says: "another volume in the second container",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.MemoryB: world.TwoVolumesB}},
				Red:     []requirement.Reason{requirement.NotShared}},
		},
	}
}

// servers are the file systems through which a sandbox with a kernel of its own sees the node's.
var servers = []string{"9p", "virtiofs", "fuse"}

// inMemory says whether what lies there is on a tmpfs, as far as can be seen from within the container.
func inMemory(env *requirement.Env, end *requirement.End, at, fsType string) bool {
	if slices.Contains(servers, fsType) {
		env.Note("%s in %s is served to the sandbox by %s: what it lies on can't be seen from within", at, end, fsType)
		return true
	}
	return fsType == "tmpfs"
}

func checkVolumeMemory(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.MemoryA), env.Role(world.MemoryB)
	if err := carries(ctx, a, b, path.Join(world.SharedPath, newName())); err != nil {
		return err
	}
	for _, end := range []*requirement.End{a, b} {
		mount, err := file(ctx, end, wire.File{Do: "stat", Path: world.SharedPath})
		if err != nil {
			return err
		}
		if !inMemory(env, end, world.SharedPath, mount.FSType) {
			return volumeFailure(requirement.WrongSetting, end, nil, world.SharedPath, "a tmpfs", strings.TrimSpace(mount.FSType+" "+mount.Text))
		}
	}
	// Each half of the limit fits, written by another container, and what goes beyond both does not.
	first, second, third := path.Join(world.SharedPath, newName()), path.Join(world.SharedPath, newName()), path.Join(world.SharedPath, newName())
	// Each removes its own: gVisor keeps open what a container wrote until that container removes it, and the room with it.
	defer forget(ctx, a, first, third)
	defer forget(ctx, b, second)
	half := make([]byte, world.MemoryLimit/2-64<<10)
	if err := fileSteps(ctx, a, wire.File{Do: "write", Path: first, Data: half, Mode: 0o666}); err != nil {
		return err
	}
	if err := fileSteps(ctx, b, wire.File{Do: "write", Path: second, Data: half, Mode: 0o666}); err != nil {
		return err
	}
	beyond, err := file(ctx, a, wire.File{Do: "write", Path: third, Data: half, Mode: 0o666})
	if err != nil {
		return err
	}
	if beyond.Class != wire.Full {
		return volumeFailure(requirement.Unbounded, a, nil, third,
			fmt.Sprintf("ENOSPC beyond the sizeLimit of %d KiB", world.MemoryLimit>>10), "the write: "+beyond.Errno.String())
	}
	return nil
}

func volumeReadOnly() requirement.Requirement {
	return requirement.Requirement{
		ID:    "container/volume-read-only",
		Title: "A container that mounts a volume with readOnly gets EROFS for every change, and sees what its sibling writes there.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/storage/volumes/#read-only-mounts",
			Says: "A mount with volumeMounts.readOnly is read-only for that container alone: a sibling that mounts the volume without it can write.",
		},
		Why: "The half that serves files shall not be able to change them. It is a flag of the mount and not of the files, so it has to be " +
			"refused whatever the permissions say.",
		PerNode: true,
		Roles:   []world.Role{world.Writer, world.Reader},
		Check:   checkVolumeReadOnly,
		Control: requirement.Control{
			Says:    "mounted writable",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Writer: world.WholeTrunk, world.Reader: world.WholeBranch}},
			Red:     []requirement.Reason{requirement.WrongSetting},
		},
		MoreControls: []requirement.Control{
			{Says: "another volume in the reader",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Reader: world.TwoVolumesB}},
				Red:     []requirement.Reason{requirement.NotShared}},
		},
	}
}

func checkVolumeReadOnly(ctx context.Context, env *requirement.Env) error {
	writer, reader := env.Role(world.Writer), env.Role(world.Reader)
	at := path.Join(world.SharedPath, newName())
	defer forget(ctx, writer, at, at+".new", at+".moved", at+".dir")
	for _, message := range []string{"first", "second"} {
		if err := fileSteps(ctx, writer, wire.File{Do: "write", Path: at, Data: []byte(message), Mode: 0o666}); err != nil {
			return err
		}
		got, err := file(ctx, reader, wire.File{Do: "read", Path: at})
		if err != nil {
			return err
		}
		if string(got.Data) != message {
			return volumeFailure(requirement.NotShared, writer, reader, at, fmt.Sprintf("the reader to find %q", message),
				fmt.Sprintf("%s, %q", got.Errno, got.Data))
		}
		for _, change := range []wire.File{
			{Do: "write", Path: at, Data: []byte("changed")}, {Do: "write", Path: at + ".new"}, {Do: "mkdir", Path: at + ".dir"},
			{Do: "rename", Path: at, To: at + ".moved"}, {Do: "remove", Path: at},
		} {
			seen, err := file(ctx, reader, change)
			if err != nil {
				return err
			}
			if seen.Class != wire.ReadOnly {
				return volumeFailure(requirement.WrongSetting, reader, nil, change.Path, "EROFS where the reader tries to "+change.Do, seen.Errno.String())
			}
		}
	}
	return nil
}

func volumeSubPath() requirement.Requirement {
	return requirement.Requirement{
		ID:    "container/volume-subpath",
		Title: "A container that mounts a subPath of a volume sees that subtree and nothing beside it, also through a link out of it.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath",
			Says: "volumeMounts.subPath names a path within the volume that is mounted in place of the volume's root.",
		},
		Why: "One volume serves several containers, each its own part. Links that led out of the part have been a way onto the node's file " +
			"system more than once (CVE-2017-1002101, CVE-2021-25741).",
		PerNode: true,
		Roles:   []world.Role{world.Trunk, world.Branch},
		Check:   checkVolumeSubPath,
		Control: requirement.Control{
			Says:    "the root of the volume mounted",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Trunk: world.WholeTrunk, world.Branch: world.WholeBranch}},
			Red:     []requirement.Reason{requirement.Leaked},
		},
		MoreControls: []requirement.Control{
			{Says: "another volume in place of the subtree",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.Branch: world.TwoVolumesB}},
				Red:     []requirement.Reason{requirement.NotShared}},
		},
	}
}

func checkVolumeSubPath(ctx context.Context, env *requirement.Env) error {
	trunk, branch := env.Role(world.Trunk), env.Role(world.Branch)
	inside, outside, link, back := newName(), newName(), newName(), newName()
	subtree := path.Join(world.SharedPath, world.BranchPath)
	if made, err := file(ctx, trunk, wire.File{Do: "mkdir", Path: subtree, Mode: 0o777}); err != nil {
		return err
	} else if !made.Ok() && made.Class != wire.Exists { // the kubelet makes it
		return fmt.Errorf("%s cannot make %s: %s", trunk, subtree, made.Errno)
	}
	beside := path.Join(world.SharedPath, outside)
	defer forget(ctx, trunk, beside, path.Join(subtree, inside), path.Join(subtree, link), path.Join(subtree, back))
	if err := fileSteps(ctx, trunk, wire.File{Do: "write", Path: beside, Data: []byte("beside")},
		wire.File{Do: "write", Path: path.Join(subtree, inside), Data: []byte("within")},
		wire.File{Do: "symlink", Path: path.Join(subtree, link), To: "../" + strings.TrimPrefix(outside, "/")}); err != nil {
		return err
	}
	list, err := file(ctx, branch, wire.File{Do: "list", Path: world.SharedPath})
	if err != nil {
		return err
	}
	if slices.Contains(list.Names, strings.TrimPrefix(outside, "/")) {
		return volumeFailure(requirement.Leaked, trunk, branch, world.SharedPath, "only what is below subPath "+world.BranchPath, "a file beside it")
	}
	through, err := file(ctx, branch, wire.File{Do: "read", Path: path.Join(world.SharedPath, link)})
	if err != nil {
		return err
	}
	if through.Class != wire.NotThere {
		return volumeFailure(requirement.Leaked, trunk, branch, path.Join(world.SharedPath, link), "a link out of the subtree to lead nowhere",
			fmt.Sprintf("%s, %q", through.Errno, through.Data))
	}
	got, err := file(ctx, branch, wire.File{Do: "read", Path: path.Join(world.SharedPath, inside)})
	if err != nil {
		return err
	}
	if string(got.Data) != "within" {
		return volumeFailure(requirement.NotShared, trunk, branch, path.Join(world.SharedPath, inside), "the file of the subtree",
			fmt.Sprintf("%s, %q", got.Errno, got.Data))
	}
	if err := fileSteps(ctx, branch, wire.File{Do: "write", Path: path.Join(world.SharedPath, back), Data: []byte("back"), Mode: 0o644}); err != nil {
		return err
	}
	got, err = file(ctx, trunk, wire.File{Do: "read", Path: path.Join(subtree, back)})
	if err != nil {
		return err
	}
	if string(got.Data) != "back" {
		return volumeFailure(requirement.NotShared, branch, trunk, path.Join(subtree, back), "what was written through the subPath",
			fmt.Sprintf("%s, %q", got.Errno, got.Data))
	}
	return nil
}

func volumeFSGroup() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/volume-fsgroup",
		Title: "A volume and what is made in it belong to the pod's fsGroup, of which every container is a member: siblings of other UIDs write " +
			"each other's group-writable files.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
			Says: "fsGroup is a supplementary group of all processes of the containers; the volume's root belongs to it, and so does every file " +
				"made there.",
		},
		Why: "Containers that are not root and not each other work on the same files through it. Without the set-group-ID bit on the volume's " +
			"root the files are there and cannot be changed.",
		PerNode: true,
		Roles:   []world.Role{world.UserA, world.UserB},
		Check:   checkVolumeFSGroup,
		Control: requirement.Control{
			Says:    "no fsGroup",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.UserA: world.NoGroupA, world.UserB: world.NoGroupB}},
			Red:     []requirement.Reason{requirement.Denied},
		},
		MoreControls: []requirement.Control{
			{Says: "no fsGroup, and one UID that needs none",
				Variant: &requirement.Variant{Roles: map[world.Role]world.Role{world.UserA: world.SiblingA, world.UserB: world.SiblingB}},
				Red:     []requirement.Reason{requirement.WrongSetting}},
		},
	}
}

func checkVolumeFSGroup(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.UserA), env.Role(world.UserB)
	at := path.Join(world.SharedPath, newName())
	defer forget(ctx, a, at)
	// Readable and writable for the owner and the group, and nobody else.
	made, err := file(ctx, a, wire.File{Do: "write", Path: at, Data: []byte("by its owner"), Mode: 0o660})
	if err != nil {
		return err
	}
	if !made.Ok() {
		return volumeFailure(requirement.Denied, a, nil, at, "a container that is not root to write on the volume", made.Errno.String())
	}
	changed, err := file(ctx, b, wire.File{Do: "write", Path: at, Data: []byte("by its sibling")})
	if err != nil {
		return err
	}
	if !changed.Ok() {
		return volumeFailure(requirement.Denied, a, b, at, fmt.Sprintf("UID %d to write UID %d's file of mode 0660, by fsGroup %d",
			world.UserBID, world.UserAID, world.FSGroup), fmt.Sprintf("%s; the file is of group %d", changed.Errno, made.GID))
	}
	root, err := file(ctx, a, wire.File{Do: "stat", Path: world.SharedPath})
	if err != nil {
		return err
	}
	for _, owned := range []struct {
		what string
		gid  int
	}{{"the volume's root", root.GID}, {"a file made there", made.GID}} {
		if owned.gid != world.FSGroup {
			return volumeFailure(requirement.WrongSetting, a, nil, at, fmt.Sprintf("%s to be of group %d", owned.what, world.FSGroup),
				fmt.Sprintf("group %d", owned.gid))
		}
	}
	for _, end := range []*requirement.End{a, b} {
		id, err := end.Identity(ctx)
		if err != nil {
			return fmt.Errorf("asking %s who it is: %w", end, err)
		}
		if !slices.Contains(id.Groups, world.FSGroup) {
			return volumeFailure(requirement.WrongSetting, end, nil, world.SharedPath, fmt.Sprintf("group %d among the supplementary groups", world.FSGroup),
				fmt.Sprint(id.Groups))
		}
	}
	return nil
}
