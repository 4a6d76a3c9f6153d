package container

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"path"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func volumeWriteRead() requirement.Requirement {
	return requirement.Requirement{
		ID:      "container/volume-write-read",
		Title:   "What one container writes to message.txt on a shared emptyDir its sibling reads, in both directions.",
		Level:   requirement.Must,
		Clause:  podsShareVolumes,
		Why:     "The plainest way for two containers to talk: one writes, the other reads.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check:   checkWriteRead,
		Control: requirement.Control{
			Says: "two volumes in place of one",
			Variant: &requirement.Variant{Roles: map[world.Role]world.Role{
				world.SiblingA: world.TwoVolumesA, world.SiblingB: world.TwoVolumesB}},
			Red: []requirement.Reason{requirement.NotShared},
		},
	}
}

func checkWriteRead(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	for _, way := range []struct{ writer, reader *requirement.End }{{a, b}, {b, a}} {
		message := make([]byte, 4096)
		rand.Read(message)
		dir := path.Join(world.SharedPath, newName())
		file := path.Join(dir, "message.txt")
		for _, step := range []wire.File{{Do: "mkdir", Path: dir, Mode: 0o777}, {Do: "write", Path: file, Data: message, Mode: 0o644}} {
			done, err := way.writer.File(ctx, step)
			if err != nil {
				return fmt.Errorf("asking %s to %s %s: %w", way.writer, step.Do, step.Path, err)
			}
			if !done.Ok() {
				return fmt.Errorf("%s cannot %s %s: %s", way.writer, step.Do, step.Path, done.Errno)
			}
		}
		defer cleanUp(ctx, func(ctx context.Context) error {
			for _, p := range []string{file, dir} {
				if _, err := way.writer.File(ctx, wire.File{Do: "remove", Path: p}); err != nil {
					return err
				}
			}
			return nil
		})
		got, err := way.reader.File(ctx, wire.File{Do: "read", Path: file})
		if err != nil {
			return fmt.Errorf("asking %s to read %s: %w", way.reader, file, err)
		}
		if !got.Ok() || !bytes.Equal(got.Data, message) {
			return &requirement.Failure{Reason: requirement.NotShared, From: way.writer, To: way.reader, Target: file, Protocol: "emptyDir",
				Expected: fmt.Sprintf("the reader to find the %d bytes that were written", len(message)),
				Observed: fmt.Sprintf("%s, %d bytes", got.Errno, len(got.Data)),
				Again:    "ls -li " + world.SharedPath + " in both containers"}
		}
	}
	return nil
}
