package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/framework/until"
)

// HostResource is a container, volume, network, nftables table or folder on this host that a run made.
type HostResource struct {
	Kind string // container, volume, network, nftables table, folder
	Name string
	Run  runid.ID
	// Alive says that the run's owner still runs, Kept that its cluster was meant to outlive it.
	Alive, Kept bool
}

func (t HostResource) String() string {
	state := "owner gone"
	switch {
	case t.Alive:
		state = "owner alive"
	case t.Kept:
		state = "kept"
	}
	return fmt.Sprintf("%s %s (%s)", t.Kind, t.Name, state)
}

// The kinds of host resources, in the order in which they must be removed: containers hold volumes and the network,
// and the guard stays until nothing is left that it guards.
const (
	container = "container"
	volume    = "volume"
	netKind   = "network"
	table     = "nftables table"
	folder    = "folder"
)

var kinds = []string{container, volume, netKind, table, folder}

// Leftovers lists the host resources of all runs, of living owners and of dead ones, in the order of removal. e may be nil:
// then only nftables tables and folders are listed. An egress guard whose bridge exists and of whose run this engine has
// nothing belongs to another engine and is not listed.
func Leftovers(ctx context.Context, e *engine.Engine) ([]HostResource, error) {
	var resources []HostResource
	var errs []error
	here, marked := map[runid.ID]bool{}, map[runid.ID]bool{}
	for _, kind := range kinds {
		names, err := listNames(ctx, e, kind)
		if err != nil {
			errs = append(errs, fmt.Errorf("listing what is left of kind %s: %w", kind, err))
		}
		for name, owner := range names {
			id, ok := runid.Parse(owner)
			if !ok || kind == table && !here[id] && ofOtherEngine(ctx, e, name) {
				continue
			}
			here[id] = here[id] || kind == container || kind == netKind
			marked[id] = marked[id] || kind == volume && name == id.Name(keepMarker) || isKept(id)
			resources = append(resources, HostResource{Kind: kind, Name: name, Run: id, Alive: id.Alive()})
		}
	}
	for i := range resources {
		resources[i].Kept = marked[resources[i].Run]
	}
	slices.SortStableFunc(resources, func(a, b HostResource) int {
		if d := slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return resources, errors.Join(errs...)
}

// ofOtherEngine says whether a guard's bridge exists and belongs to another engine.
func ofOtherEngine(ctx context.Context, e *engine.Engine, guard string) bool {
	if _, there := guardedBridge(guard); !there {
		return false
	}
	_, forgotten := orphanedBridge(ctx, e, guard)
	return !forgotten
}

// liftGuard removes a guard when the bridge under it is gone, or forgotten by its engine and removed first.
func liftGuard(ctx context.Context, e *engine.Engine, guard string) error {
	bridge, forgotten := orphanedBridge(ctx, e, guard)
	if forgotten {
		if err := removeBridge(bridge); err != nil {
			return err
		}
	}
	if _, there := guardedBridge(guard); there {
		return fmt.Errorf("the bridge %s that it guards is still there", bridge)
	}
	return removeGuard(guard)
}

// listNames lists all resources of a kind: their names, each with the name or label that has the run's ID.
func listNames(ctx context.Context, e *engine.Engine, kind string) (map[string]string, error) {
	names := map[string]string{}
	same := func(lines []string, err error) (map[string]string, error) {
		for _, l := range lines {
			names[l] = l
		}
		return names, err
	}
	switch kind {
	case table:
		tables, err := guardTables()
		if errors.Is(err, os.ErrPermission) {
			return nil, nil // whoever may not see tables has made none
		}
		return same(tables, err)
	case folder:
		paths, err := filepath.Glob(filepath.Join(os.TempDir(), runid.Prefix+"*"))
		for _, p := range paths {
			names[p] = filepath.Base(p)
		}
		return names, err
	}
	if e == nil {
		return nil, nil
	}
	switch kind {
	case container:
		return same(e.Lines(ctx, "ps", "-a", "--format", "{{.Names}}"))
	case netKind:
		return same(e.Lines(ctx, "network", "ls", "--format", "{{.Name}}"))
	}
	// kind labels podman's volumes with their node's name; docker's are anonymous and go with the container.
	form := "{{.Name}}"
	if e.Name == "podman" {
		form = "{{.Name}} {{range $k, $v := .Labels}}{{$k}} {{end}}"
	}
	lines, err := e.Lines(ctx, "volume", "ls", "--format", form)
	for _, l := range lines {
		fields := strings.Fields(l)
		for _, label := range fields {
			if _, ok := runid.Parse(label); ok {
				names[fields[0]] = label
			}
		}
	}
	return names, err
}

// isKept says whether a run's cluster was marked to outlive its owner, as far as its folder tells. Its volume tells
// too: another process may have another folder for temporary files.
func isKept(id runid.ID) bool {
	_, err := os.Stat(filepath.Join(os.TempDir(), id.Name(), keepMarker))
	return err == nil
}

// Reap removes what dead owners left, except clusters that were kept; with all set, also kept clusters and
// what living owners have. What this process itself made stays. It returns what was removed.
func Reap(ctx context.Context, e *engine.Engine, all bool, log func(string)) ([]string, error) {
	self, err := runid.New()
	if err != nil {
		return nil, err
	}
	resources, err := Leftovers(ctx, e)
	var removed []string
	errs := []error{err}
	seen := map[runid.ID]bool{self: true}
	for _, t := range resources {
		if seen[t.Run] || (!all && (t.Alive || t.Kept)) {
			continue
		}
		seen[t.Run] = true
		if log != nil {
			log("removing what run " + string(t.Run) + " left")
		}
		names, err := removeRun(ctx, e, t.Run, true)
		removed = append(removed, names...)
		errs = append(errs, err)
	}
	errs = append(errs, releaseHost(ctx, e, self)) // of owners that left nothing else
	return removed, errors.Join(errs...)
}

// removePatience is how long removal is tried again: a command of an owner that was just killed may still be
// making containers.
const removePatience = 30 * time.Second

// removeRun removes what a run made, and says what that was. The engine's private configuration, which the run's
// own process still uses, goes only withEngine.
func removeRun(ctx context.Context, e *engine.Engine, id runid.ID, withEngine bool) ([]string, error) {
	var removed []string
	policy := until.Policy{Within: removePatience, Every: 300 * time.Millisecond}
	if withEngine {
		policy.Consecutive = 2 // looked at once more, for what appeared meanwhile
	}
	_, err := until.Settled(ctx, policy, func(ctx context.Context) error {
		resources, err := Leftovers(ctx, e)
		if err != nil {
			return err
		}
		of := map[string][]string{}
		for _, t := range resources {
			inUse := !withEngine && t.Kind == folder && filepath.Base(t.Name) != id.Name()
			if t.Run == id && !inUse {
				of[t.Kind] = append(of[t.Kind], t.Name)
			}
		}
		for _, kind := range kinds {
			if len(of[kind]) == 0 {
				continue
			}
			if err := remove(ctx, e, kind, of[kind]); err != nil {
				return fmt.Errorf("removing %s %s: %w", kind, strings.Join(of[kind], ", "), err)
			}
			for _, name := range of[kind] {
				removed = append(removed, kind+" "+name)
			}
		}
		return nil
	})
	return removed, errors.Join(err, releaseHost(ctx, e, id))
}

func remove(ctx context.Context, e *engine.Engine, kind string, names []string) error {
	var errs []error
	switch kind {
	case container:
		return removeContainers(ctx, e, names)
	case volume:
		_, err := e.Output(ctx, append([]string{"volume", "rm", "--force"}, names...)...)
		return err
	case netKind:
		_, err := e.Output(ctx, append([]string{"network", "rm"}, names...)...)
		return err
	case table:
		for _, n := range names {
			errs = append(errs, liftGuard(ctx, e, n))
		}
	case folder:
		for _, n := range names {
			errs = append(errs, os.RemoveAll(n))
		}
	}
	return errors.Join(errs...)
}

// removeContainers kills and removes containers with their volumes: nothing in them is worth a shutdown.
func removeContainers(ctx context.Context, e *engine.Engine, names []string) error {
	args := []string{"rm", "--force", "--volumes"}
	if e.Name == "podman" { // it would wait ten seconds for each to stop
		args = append(args, "--time", "0")
	}
	_, err := e.Output(ctx, append(args, names...)...)
	return err
}

// removeNodes removes the containers of a run, once.
func removeNodes(ctx context.Context, e *engine.Engine, id runid.ID) error {
	names, err := containersOf(ctx, e, id)
	if err != nil || len(names) == 0 {
		return err
	}
	return removeContainers(ctx, e, names)
}

func containersOf(ctx context.Context, e *engine.Engine, id runid.ID) ([]string, error) {
	names, err := e.Lines(ctx, "ps", "-a", "--format", "{{.Names}}")
	return slices.DeleteFunc(names, func(n string) bool { return !id.Owns(n) }), err
}
