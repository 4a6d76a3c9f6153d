package handler

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamed(t *testing.T) {
	for _, c := range []struct{ ask, want, says string }{
		{"", "", ""},
		{"runsc crun", "crun runsc", ""},
		{"runc", "runc", ""},
		{"runc kata", "", `"kata" is no OCI handler`},
	} {
		found, err := Named(strings.Fields(c.ask))
		if c.says != "" {
			require.ErrorContains(t, err, c.says)
			continue
		}
		require.NoError(t, err)
		var names []string
		for _, h := range found {
			names = append(names, h.Name)
		}
		require.Equal(t, c.want, strings.Join(names, " "))
	}
}

func TestPatches(t *testing.T) {
	for ask, want := range map[string]struct {
		containerd, kubelet int
		has, hasNot         []string
	}{
		"":     {},
		"runc": {},
		"crun": {2, 0, []string{`version = 2`, `[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]`, `version = 3`,
			`[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.crun.options]`, "SystemdCgroup = true"}, []string{"= false", "runsc"}},
		"runc crun runsc": {4, 1, []string{`runtimes.crun]`, `runtime_type = "io.containerd.runsc.v1"`, "cgroupDriver: cgroupfs"},
			[]string{"SystemdCgroup = true", "{{"}},
	} {
		t.Run(ask, func(t *testing.T) {
			found, err := Named(strings.Fields(ask))
			require.NoError(t, err)
			containerd, kubelet, err := Patches(found)
			require.NoError(t, err)
			require.Len(t, containerd, want.containerd)
			require.Len(t, kubelet, want.kubelet)
			text := strings.Join(append(containerd, kubelet...), "\n")
			for _, s := range want.has {
				require.Contains(t, text, s)
			}
			for _, s := range want.hasNot {
				require.NotContains(t, text, s)
			}
		})
	}
}

// Handlers that need no build give their files at once, and what their configuration names is among them.
func TestFilesOfCrun(t *testing.T) {
	found, err := Named([]string{Default, "crun"})
	require.NoError(t, err)
	files, err := found[0].Files(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, files)
	files, err = found[1].Files(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, files, 1)
	containerd, _, err := Patches(found)
	require.NoError(t, err)
	require.Contains(t, containerd[0], `BinaryName = "`+files[0].At+`"`)
}

func TestGVisorsModule(t *testing.T) {
	p, err := gvisor()
	require.NoError(t, err)
	version, err := p.Version()
	require.NoError(t, err)
	require.Contains(t, string(p.Sum), "gvisor.dev/gvisor "+version+" h1:")
	require.Contains(t, p.Sources[shimName+"/main.go"], "package main")
	require.Contains(t, string(p.Mod), "handler/gvisor/"+shimName+"\n", "a tool line names the shim")
}

// A version of the specification that crun does not know is set to one that it does, of a bundle that a container is made of.
func TestCrunAnyVersion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	script, err := filepath.Abs("../../../manifests/handlers/crun-any-version.sh")
	require.NoError(t, err)
	programs := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(programs, "crun"), []byte("#!/bin/sh\necho \"$@\"\n"), 0o755))
	const spec = `{"ociVersion":"1.3.0","annotations":{"x":"\"ociVersion\":\"9\""}}`
	for args, changes := range map[string]bool{
		"--root r create --bundle BUNDLE --pid-file p id": true,
		"create --bundle=BUNDLE id":                       true,
		"run -b BUNDLE id":                                true,
		"--root r start id":                               false,
		"exec --process p id":                             false,
	} {
		t.Run(args, func(t *testing.T) {
			bundle := t.TempDir()
			config := filepath.Join(bundle, "config.json")
			require.NoError(t, os.WriteFile(config, []byte(spec), 0o644))
			args := strings.ReplaceAll(args, "BUNDLE", bundle)
			cmd := exec.Command(bash, append([]string{script}, strings.Fields(args)...)...)
			cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Equal(t, args, strings.TrimSpace(string(out)))
			got, err := os.ReadFile(config)
			require.NoError(t, err)
			want := spec
			if changes {
				want = strings.Replace(spec, "1.3.0", "1.0.0", 1)
			}
			require.Equal(t, want, string(got))
		})
	}
}
