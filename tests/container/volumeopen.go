package container

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"path"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// twoVolumes is the control of what rests on one volume.
func twoVolumes() requirement.Control {
	return requirement.Control{
		Says: "two volumes in place of one",
		Variant: &requirement.Variant{Roles: map[world.Role]world.Role{
			world.SiblingA: world.TwoVolumesA, world.SiblingB: world.TwoVolumesB}},
		Red: []requirement.Reason{requirement.NotShared},
	}
}

func volumeMmap() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/volume-mmap",
		Title:  "A page of a file on a shared volume that both containers map with MAP_SHARED is one page: a store in one is there for the other.",
		Level:  requirement.Should,
		Clause: requirement.Clause{URL: "https://man7.org/linux/man-pages/man2/mmap.2.html", Says: "Updates to a MAP_SHARED mapping are visible to other processes that map the same region."},
		Why: "Databases, ring buffers and metrics libraries keep counters in a mapped file. It holds where both containers see one file of one " +
			"kernel; file systems that pass through a virtual machine's border, or copy on write, give each its own page.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check:   checkVolumeMmap,
		Control: twoVolumes(),
	}
}

func checkVolumeMmap(ctx context.Context, env *requirement.Env) error {
	const page = 4096
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	at := path.Join(world.SharedPath, newName())
	defer forget(ctx, a, at)
	if err := fileSteps(ctx, a, wire.File{Do: "write", Path: at, Data: make([]byte, page), Mode: 0o666}); err != nil {
		return err
	}
	mapped := map[*requirement.End]string{}
	for _, end := range []*requirement.End{a, b} {
		opened, err := end.Map(ctx, wire.Map{Do: "open", Path: at, Size: page})
		if err != nil {
			return fmt.Errorf("mapping %s in %s: %w", at, end, err)
		}
		if !opened.Ok() {
			return volumeFailure(requirement.ReasonOf(opened.Errno), a, end, at, "the file to be mapped", opened.Errno.String())
		}
		defer exchange.Release(ctx, end, opened.Handle)
		mapped[end] = opened.Handle
	}
	for i, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}, {a, b}} {
		data := make([]byte, 512)
		rand.Read(data)
		put, err := way.from.Map(ctx, wire.Map{Do: "store", Handle: mapped[way.from], Offset: 512 * (i % 2), Data: data})
		if err != nil {
			return fmt.Errorf("storing in %s: %w", way.from, err)
		}
		if !put.Ok() {
			return fmt.Errorf("%s cannot store into its mapping of %s: %s", way.from, at, put.Errno)
		}
		got, err := way.to.Map(ctx, wire.Map{Do: "load", Handle: mapped[way.to], Offset: 512 * (i % 2), Size: len(data)})
		if err != nil {
			return fmt.Errorf("loading in %s: %w", way.to, err)
		}
		if !bytes.Equal(got.Data, data) {
			return volumeFailure(requirement.Broken, way.from, way.to, at, "the bytes that the sibling stored into the page", "other bytes "+got.Text)
		}
	}
	return nil
}

func volumeLock() requirement.Requirement {
	return requirement.Requirement{
		ID:    "container/volume-lock",
		Title: "flock, fcntl and open-file-description locks on a shared volume exclude across containers, and are free once released.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL:  "https://man7.org/linux/man-pages/man2/fcntl_locking.2.html",
			Says: "An advisory write lock that another process holds makes F_SETLK fail with EAGAIN or EACCES; it goes when it is released.",
		},
		Why: "Leader and standby, log rotation and SQLite trust it that one of them holds the lock. A file system on which locks are " +
			"always granted lets both write.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check:   checkVolumeLock,
		Control: twoVolumes(),
	}
}

func checkVolumeLock(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	lock := func(end *requirement.End, l wire.Lock) (wire.LockResult, error) {
		got, err := end.Lock(ctx, l)
		if err != nil {
			return got, fmt.Errorf("locking %s in %s: %w", l.Path, end, err)
		}
		if !got.Ok() && !got.Busy {
			return got, fmt.Errorf("%s cannot take a %s lock on %s: %s", end, l.Kind, l.Path, got.Errno)
		}
		return got, nil
	}
	for _, kind := range []string{"flock", "fcntl", "ofd"} {
		at := path.Join(world.SharedPath, newName())
		defer forget(ctx, a, at)
		defer forget(ctx, b, at) // its own one where the volume is not shared
		for _, way := range []struct{ holder, other *requirement.End }{{a, b}, {b, a}} {
			held, err := lock(way.holder, wire.Lock{Path: at, Kind: kind})
			if err != nil {
				return err
			}
			if held.Busy {
				return volumeFailure(requirement.Broken, way.other, way.holder, at, "a "+kind+" lock that was released to be free", held.Errno.String())
			}
			second, err := lock(way.other, wire.Lock{Path: at, Kind: kind})
			if err != nil {
				return err
			}
			exchange.Release(ctx, way.other, second.Handle)
			exchange.Release(ctx, way.holder, held.Handle)
			if !second.Busy {
				return volumeFailure(requirement.NotShared, way.holder, way.other, at, "a "+kind+" lock to be refused while the sibling holds it",
					"the lock granted to both")
			}
		}
	}
	return nil
}

func volumeInotify() requirement.Requirement {
	return requirement.Requirement{
		ID:     "container/volume-inotify",
		Title:  "A file that one container makes, writes or renames on a shared volume raises the inotify events in its sibling, in both directions.",
		Level:  requirement.Should,
		Clause: requirement.Clause{URL: "https://man7.org/linux/man-pages/man7/inotify.7.html", Says: "A watch of a directory reports what happens to the files in it, whoever does it; changes made remotely on a network file system are not reported."},
		Why: "Reloaders, log shippers and config watchers wait for the event instead of looking again and again. It needs one kernel below both " +
			"containers: where the volume is shared with a virtual machine's kernel, files change and no event comes.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.SiblingB},
		Check:   checkVolumeInotify,
		Control: twoVolumes(),
	}
}

func checkVolumeInotify(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.SiblingA), env.Role(world.SiblingB)
	for _, way := range []struct{ writer, watcher *requirement.End }{{a, b}, {b, a}} {
		watch, err := way.watcher.Watch(ctx, wire.Watch{Do: "open", Path: world.SharedPath})
		if err != nil {
			return fmt.Errorf("watching %s in %s: %w", world.SharedPath, way.watcher, err)
		}
		if !watch.Ok() {
			return fmt.Errorf("%s cannot watch %s: %s", way.watcher, world.SharedPath, watch.Errno)
		}
		defer exchange.Release(ctx, way.watcher, watch.Handle)
		at := path.Join(world.SharedPath, newName())
		defer forget(ctx, way.writer, at, at+".moved")
		if err := fileSteps(ctx, way.writer, wire.File{Do: "write", Path: at, Data: []byte("event"), Mode: 0o666},
			wire.File{Do: "rename", Path: at, To: at + ".moved"}); err != nil {
			return err
		}
		name := path.Base(at)
		// The event is there when the call that raised it returns, so that this is time for a busy machine alone.
		bound := 2000
		if env.Patience == 0 {
			bound = 500
		}
		last := "moved-to " + name + ".moved"
		got, err := way.watcher.Watch(ctx, wire.Watch{Do: "read", Handle: watch.Handle, Until: last, Timeout: bound})
		if err != nil {
			return fmt.Errorf("reading the events in %s: %w", way.watcher, err)
		}
		var ours []string
		for _, event := range got.Events {
			if strings.Contains(event, name) {
				ours = append(ours, event)
			}
		}
		want := []string{"create " + name, "modify " + name, "close-write " + name, "moved-from " + name, last}
		if !inOrder(ours, want) {
			return volumeFailure(requirement.NotShared, way.writer, way.watcher, at, "the events "+strings.Join(want, ", "),
				fmt.Sprintf("%v, %s", ours, got.Errno))
		}
	}
	return nil
}

// inOrder says whether the wanted are among the seen, in that order.
func inOrder(seen, wanted []string) bool {
	for _, s := range seen {
		if len(wanted) > 0 && s == wanted[0] {
			wanted = wanted[1:]
		}
	}
	return len(wanted) == 0
}
