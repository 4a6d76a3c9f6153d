package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/runid"
)

// deadRun is the ID of a run whose owner ran and ended.
func deadRun(t *testing.T) runid.ID {
	t.Helper()
	child := exec.Command("true")
	require.NoError(t, child.Run())
	return runid.ID(strconv.Itoa(child.Process.Pid) + "-" + strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 36))
}

// fakeEngine is an engine whose containers, networks and volumes are files in a folder, made by a shell script.
func fakeEngine(t *testing.T) (e *engine.Engine, state string) {
	t.Helper()
	real := hostSettingsDir
	hostSettingsDir = t.TempDir()
	t.Cleanup(func() { hostSettingsDir = real })
	state = t.TempDir()
	for _, kind := range []string{"container", "network", "volume"} {
		require.NoError(t, os.Mkdir(filepath.Join(state, kind), 0o700))
	}
	script := `#!/bin/sh
cd ` + state + `
case "$1 $2" in
"ps -a") ls container ;;
"network ls") ls network ;;
"volume ls") for v in volume/*; do [ -f "$v" ] && echo "${v#volume/} $(cat $v) "; done; true ;;
"rm --force") shift 3; [ "$1" = --time ] && shift 2; for c; do rm -f container/$c; done ;;
"network rm") [ -z "$(ls container)" ] || { echo "network is in use" >&2; exit 1; }; shift 2; for n; do rm network/$n; done ;;
"volume rm") shift 3; for v; do rm volume/$v; done ;;
esac
`
	path := filepath.Join(t.TempDir(), "podman")
	require.NoError(t, os.WriteFile(path, []byte(script), 0o700))
	// Rootless: the host's own bridges are none of its business.
	return &engine.Engine{Name: "podman", Path: path, Rootless: true}, state
}

func TestReapRemovesWhatDeadOwnersLeft(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	e, state := fakeEngine(t)
	dead, kept := deadRun(t), deadRun(t)
	require.NotEqual(t, dead, kept)
	self, err := runid.New()
	require.NoError(t, err)
	put := func(parts ...string) {
		t.Helper()
		path := filepath.Join(parts...)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		content := ""
		if parts[1] == "volume" {
			content = dead.Name("worker")
		}
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	put(state, "container", dead.Name("worker"))
	put(state, "container", "somebody-elses")
	put(state, "volume", "0123abcd")
	put(state, "network", dead.Name())
	put(state, "network", self.Name())
	put(tmp, dead.Name(), "kubeconfig")
	put(tmp, dead.Name("engine")+"-123", "containers.conf")
	put(tmp, kept.Name(), keepMarker)
	put(tmp, self.Name(), "kubeconfig")
	put(tmp, "parley-notes", "mine")

	things, err := Leftovers(t.Context(), e)
	require.NoError(t, err)
	var seen []string
	for _, thing := range things {
		if thing.Kind != table { // the host's own, if any
			seen = append(seen, strings.ReplaceAll(thing.String(), tmp, ""))
		}
	}
	require.Equal(t, []string{
		"container " + dead.Name("worker") + " (owner gone)",
		"volume 0123abcd (owner gone)",
		"network " + self.Name() + " (owner alive)",
		"network " + dead.Name() + " (owner gone)",
		"folder /" + self.Name() + " (owner alive)",
		"folder /" + dead.Name() + " (owner gone)",
		"folder /" + dead.Name("engine") + "-123 (owner gone)",
		"folder /" + kept.Name() + " (kept)",
	}, sortedLike(seen, []string{"container", "volume", "network", "folder"}, self, dead, kept))

	// The network goes after the container that somebody else's script would otherwise block.
	require.NoError(t, os.Remove(filepath.Join(state, "container", "somebody-elses")))
	removed, err := Reap(t.Context(), e, false, nil)
	require.NoError(t, err)
	removed = slices.DeleteFunc(removed, func(thing string) bool { return strings.HasPrefix(thing, table) }) // the host's own, if any
	require.Len(t, removed, 5)
	require.FileExists(t, filepath.Join(tmp, kept.Name(), keepMarker))
	require.FileExists(t, filepath.Join(tmp, self.Name(), "kubeconfig"))
	require.FileExists(t, filepath.Join(tmp, "parley-notes", "mine"))
	require.NoDirExists(t, filepath.Join(tmp, dead.Name()))
	require.NoFileExists(t, filepath.Join(state, "network", dead.Name()))
	require.FileExists(t, filepath.Join(state, "network", self.Name()))
}

// sortedLike orders lines by kind and then by run, since run IDs are not the same twice.
func sortedLike(lines, kinds []string, ids ...runid.ID) []string {
	var sorted []string
	for _, kind := range kinds {
		for _, anyRun := range append(ids, "") {
			for _, line := range lines {
				if !strings.HasPrefix(line, kind) {
					continue
				}
				if anyRun != "" && strings.Contains(line, string(anyRun)) || anyRun == "" && kind == "volume" {
					sorted = append(sorted, line)
				}
			}
		}
	}
	return sorted
}

func TestKeptByVolume(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // not where the marker's file is
	e, state := fakeEngine(t)
	id := deadRun(t)
	for _, path := range []string{"container/" + id.Name("worker"), "volume/" + id.Name(keepMarker)} {
		require.NoError(t, os.WriteFile(filepath.Join(state, path), nil, 0o600))
	}
	removed, err := Reap(t.Context(), e, false, nil)
	require.NoError(t, err)
	require.Empty(t, removed)
	removed, err = Reap(t.Context(), e, true, nil)
	require.NoError(t, err)
	require.Len(t, removed, 2)
}

func TestDeleteLeavesTheEnginesConfiguration(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	e, _ := fakeEngine(t)
	id := deadRun(t)
	require.NoError(t, os.MkdirAll(filepath.Join(tmp, id.Name()), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(tmp, id.Name("engine")+"-123"), 0o700))
	removed, err := removeRun(t.Context(), e, id, false)
	require.NoError(t, err)
	require.Contains(t, removed, "folder "+filepath.Join(tmp, id.Name()))
	require.DirExists(t, filepath.Join(tmp, id.Name("engine")+"-123"))
}
