package cluster

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/parley-k8s/parley/manifests"
)

func TestRuntimesAreWhole(t *testing.T) {
	used := map[string]bool{"README.md": true}
	for i, r := range Runtimes() {
		require.Equal(t, i == 0, r.Layer == nil, r.Name)
		require.NotEmpty(t, r.Units, r.Name)
		require.NotEmpty(t, r.Reports, r.Name)
		if r.Layer == nil {
			continue
		}
		socket := 0
		patches, err := r.patches("")
		require.NoError(t, err)
		for _, p := range patches {
			for _, doc := range strings.Split(p, "\n---\n") {
				var patch struct {
					Kind             string
					NodeRegistration struct {
						CRISocket string `json:"criSocket"`
					} `json:"nodeRegistration"`
				}
				require.NoError(t, yaml.Unmarshal([]byte(doc), &patch))
				require.NotEmpty(t, patch.Kind)
				if patch.NodeRegistration.CRISocket != "" {
					require.Equal(t, r.Socket, patch.NodeRegistration.CRISocket)
					socket++
				}
			}
		}
		require.Equal(t, 2, socket, "init and join")
		for _, f := range r.Layer.Files {
			_, err := manifests.Runtimes.ReadFile("runtimes/" + f.From)
			require.NoError(t, err)
			require.False(t, strings.HasPrefix(f.At, "/") || strings.HasPrefix(f.At, "var/"), f.At)
			used[f.From] = true
		}
		for _, p := range r.Patches {
			used[p.File] = true
		}
		for arch, sum := range r.Layer.Bundle.Sums {
			require.Len(t, sum, 64, arch)
		}
	}
	require.NoError(t, fs.WalkDir(manifests.Runtimes, "runtimes", func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		require.True(t, d.IsDir() || used[strings.TrimPrefix(name, "runtimes/")], "%s is nobody's", name)
		return nil
	}))
}

func TestRuntimeOf(t *testing.T) {
	r, err := RuntimeOf("")
	require.NoError(t, err)
	require.Equal(t, "containerd", r.Name)
	_, err = RuntimeOf("rkt")
	require.EqualError(t, err, `"rkt" is no node runtime that Parley can make a cluster with: choose of containerd, crio, docker`)
}

func TestRuntimeCommands(t *testing.T) {
	for name, want := range map[string]struct {
		last    string // of the command that loads an image; "" is kind's way
		journal string
		reports string
	}{
		"containerd": {"", "journalctl --no-pager -n 300 -u kubelet -u containerd", "containerd://2.4.2"},
		"crio":       {"a/b:c", "journalctl --no-pager -n 300 -u kubelet -u crio", "cri-o://1.36.3"},
		"docker":     {"--quiet", "journalctl --no-pager -n 300 -u kubelet -u docker -u docker-images -u cri-docker", "docker://26.1.5"},
	} {
		r, err := RuntimeOf(name)
		require.NoError(t, err)
		argv := r.load("a/b:c")
		if want.last == "" {
			require.Empty(t, argv)
		} else {
			require.Equal(t, want.last, argv[len(argv)-1])
		}
		require.Equal(t, want.journal, strings.Join(r.journal(), " "))
		for _, other := range Runtimes() {
			require.Equal(t, other.Name == name, other.has(want.reports))
		}
	}
}

func TestPatchesByVersion(t *testing.T) {
	for kubernetes, websockets := range map[string]bool{"v1.35.4": false, "v1.36.3": true, "v1.37.2": true, "": true} {
		all, err := docker().patches(kubernetes)
		require.NoError(t, err)
		require.Equal(t, websockets, strings.Contains(strings.Join(all, "\n"), "ExtendWebSocketsToKubelet: false"), kubernetes)
		require.Contains(t, strings.Join(all, "\n"), "cgroupDriver: cgroupfs")
	}
}
