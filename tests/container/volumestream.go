package container

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"path"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func volumeRename() requirement.Requirement {
	const inPlace = "write in place"
	return requirement.Requirement{
		ID:    "container/volume-rename",
		Title: "A file on a shared volume that one container replaces by rename is always whole for its sibling, never partial and never gone.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://man7.org/linux/man-pages/man2/rename.2.html",
			Says: "A file of the new name is replaced atomically: at no point does another process that opens that name find it missing.",
		},
		Why: "It is how a sidecar hands over certificates and configuration, and how the kubelet updates its own volumes. Readers need no lock " +
			"as long as it holds.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return checkVolumeRename(ctx, env, env.Fixture(inPlace))
		},
		Control: requirement.Control{
			Says: inPlace, Variant: &requirement.Variant{Fixture: inPlace}, Red: []requirement.Reason{requirement.Broken},
		},
	}
}

func checkVolumeRename(ctx context.Context, env *requirement.Env, inPlace bool) error {
	writer, reader := env.Role(world.SiblingA), env.Role(world.SiblingB)
	r := wire.Replace{Path: path.Join(world.SharedPath, newName()), Size: 64 << 10, Count: 200, InPlace: inPlace, Pause: 300, Timeout: 60_000}
	defer forget(ctx, writer, r.Path, r.Path+".new")
	var wrote, read wire.ReplaceResult
	both, both2 := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		asked := r
		asked.Do = "read"
		read, err = reader.Replace(both2, asked)
		return err
	})
	both.Go(func() (err error) {
		asked := r
		asked.Do = "write"
		wrote, err = writer.Replace(both2, asked)
		return err
	})
	if err := both.Wait(); err != nil {
		return fmt.Errorf("replacing and reading %s from %s and %s: %w", r.Path, writer, reader, err)
	}
	switch {
	case !wrote.Ok():
		return fmt.Errorf("%s cannot replace %s: %s", writer, r.Path, wrote.Errno)
	case read.Torn > 0:
		return volumeFailure(requirement.Broken, writer, reader, r.Path, "one whole version in each read",
			fmt.Sprintf("%s in %d of %d reads", read.First, read.Torn, read.Reads))
	case !read.Ok():
		return volumeFailure(requirement.NotShared, writer, reader, r.Path, "the reader to see the last version",
			fmt.Sprintf("%d versions in %d reads, then %s", read.Versions, read.Reads, read.Errno))
	}
	env.Note("%d reads met %d of %d versions", read.Reads, read.Versions, r.Count)
	return nil
}

func volumeFIFO() requirement.Requirement {
	return requirement.Requirement{
		ID:    "container/volume-fifo",
		Title: "A named pipe on a shared volume carries data between two containers, in both directions, with the writer blocked while it is full.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://man7.org/linux/man-pages/man7/fifo.7.html",
			Says: "A FIFO is a name for a pipe in the kernel: whoever opens it for writing and reading talk through it, and nothing of the data is in the file system.",
		},
		Why: "Log writers that can only write to a file are followed so. It takes the one kernel and the one inode: across a border between " +
			"kernels the name is there and no data comes.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check:   checkVolumeFIFO,
		Control: twoVolumes(),
	}
}

// piped is several times what a pipe holds (64 KiB, pipe(7)), so that the writer has to wait for the reader.
const piped = 300 << 10

func checkVolumeFIFO(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	for _, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
		at, data := path.Join(world.SharedPath, newName()), make([]byte, piped)
		rand.Read(data)
		made, err := way.from.FIFO(ctx, wire.FIFO{Do: "make", Path: at})
		if err != nil {
			return fmt.Errorf("making the pipe %s in %s: %w", at, way.from, err)
		}
		if !made.Ok() {
			return fmt.Errorf("%s cannot make the named pipe %s: %s", way.from, at, made.Errno)
		}
		defer forget(ctx, way.from, at)
		bound := 20_000
		if env.Patience == 0 {
			bound = 1000
		}
		var sent, got wire.FIFOResult
		var both errgroup.Group
		both.Go(func() (err error) {
			got, err = way.to.FIFO(ctx, wire.FIFO{Do: "receive", Path: at, Timeout: bound})
			return err
		})
		both.Go(func() (err error) {
			sent, err = way.from.FIFO(ctx, wire.FIFO{Do: "send", Path: at, Data: data, Timeout: bound})
			return err
		})
		if err := both.Wait(); err != nil {
			return fmt.Errorf("piping from %s to %s: %w", way.from, way.to, err)
		}
		if !got.Ok() || !sent.Ok() || !bytes.Equal(got.Data, data) {
			return volumeFailure(requirement.NotShared, way.from, way.to, at, fmt.Sprintf("the %d bytes that were written", len(data)),
				fmt.Sprintf("%d bytes; the writer: %s; the reader: %s", len(got.Data), sent.Errno, got.Errno))
		}
	}
	return nil
}
