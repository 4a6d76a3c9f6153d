package container

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// file has the end do one thing to a path; the error is the channel's.
func file(ctx context.Context, end *requirement.End, f wire.File) (wire.FileResult, error) {
	seen, err := end.File(ctx, f)
	if err != nil {
		return seen, fmt.Errorf("asking %s to %s %s: %w", end, f.Do, f.Path, err)
	}
	return seen, nil
}

// fileSteps has the end do things to paths that are no part of what is judged: that they can't be done is an error.
func fileSteps(ctx context.Context, end *requirement.End, steps ...wire.File) error {
	for _, step := range steps {
		seen, err := file(ctx, end, step)
		if err != nil {
			return err
		}
		if !seen.Ok() {
			return fmt.Errorf("%s cannot %s %s: %s", end, step.Do, step.Path, seen.Errno)
		}
	}
	return nil
}

// forget removes paths after a check; what is not there any more is no matter.
func forget(ctx context.Context, end *requirement.End, paths ...string) {
	cleanUp(ctx, func(ctx context.Context) error {
		for _, p := range paths {
			if _, err := end.File(ctx, wire.File{Do: "remove", Path: p}); err != nil {
				return err
			}
		}
		return nil
	})
}

// volumeFailure is what one end did to a file on a shared volume and the other did not find so.
func volumeFailure(reason requirement.Reason, from, to *requirement.End, at, expected, observed string) error {
	return &requirement.Failure{Reason: reason, From: from, To: to, Target: at, Protocol: "volume", Expected: expected, Observed: observed,
		Again: fmt.Sprintf("stat %s and grep %s /proc/self/mountinfo in both containers", at, world.SharedPath)}
}

// carries says whether what each of the ends writes at the path the other reads.
func carries(ctx context.Context, a, b *requirement.End, at string) error {
	defer forget(ctx, a, at)
	for _, way := range []struct{ writer, reader *requirement.End }{{a, b}, {b, a}} {
		message := []byte("written by " + way.writer.Container + newName())
		wrote, err := file(ctx, way.writer, wire.File{Do: "write", Path: at, Data: message, Mode: 0o666})
		if err != nil {
			return err
		}
		if !wrote.Ok() {
			return volumeFailure(requirement.Denied, way.writer, way.reader, at, "the writer to write the file", wrote.Errno.String())
		}
		got, err := file(ctx, way.reader, wire.File{Do: "read", Path: at})
		if err != nil {
			return err
		}
		if !got.Ok() || string(got.Data) != string(message) {
			return volumeFailure(requirement.NotShared, way.writer, way.reader, at, fmt.Sprintf("the reader to find %q", message),
				fmt.Sprintf("%s, %q", got.Errno, got.Data))
		}
	}
	return nil
}
