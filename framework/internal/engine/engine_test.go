package engine

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestContainersConf(t *testing.T) {
	ordinary := HostLimits{SysResource: true, NofileHard: 1 << 20, NprocHard: 1 << 16, PIDMax: 1 << 22, Systemd: true, Runc: true}
	for name, tc := range map[string]struct {
		host func(*HostLimits)
		want string
	}{
		"nothing special": {func(*HostLimits) {}, ""},
		"capability missing": {
			func(h *HostLimits) { h.SysResource, h.NofileHard, h.NprocHard, h.PIDMax = false, 20000, 96365, 32768 },
			"[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]\npids_limit = 0\n",
		},
		"capability missing, hard limits unlimited": {
			func(h *HostLimits) { h.SysResource, h.NofileHard, h.NprocHard = false, 0, 0 },
			"[containers]\ndefault_ulimits = [\"nofile=1048576:1048576\", \"nproc=4194304:4194304\"]\npids_limit = 0\n",
		},
		"cgroup v1 under systemd": {func(h *HostLimits) { h.CgroupV1 = true }, "[containers]\npids_limit = 0\n[engine]\nruntime = \"runc\"\n"},
		"cgroup v1, no runc":      {func(h *HostLimits) { h.CgroupV1, h.Runc = true, false }, ""},
		"no systemd": {
			func(h *HostLimits) { h.Systemd = false },
			"[containers]\npids_limit = 0\n[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n",
		},
		"all of it": {
			func(h *HostLimits) {
				*h = HostLimits{NofileHard: 20000, NprocHard: 96365, PIDMax: 32768, CgroupV1: true, Runc: true}
			},
			"[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]\npids_limit = 0\n" +
				"[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := ordinary
			tc.host(&h)
			require.Equal(t, tc.want, ContainersConf(h))
		})
	}
}

func TestHasCapability(t *testing.T) {
	status := filepath.Join(t.TempDir(), "status")
	for content, want := range map[string]bool{
		"Name:\tx\nCapBnd:\t000001ffffffffff\n": true,
		"Name:\tx\nCapBnd:\t000001fffeffffff\n": false,
		"Name:\tx\n":                            true,
		"CapBnd:\tnonsense\n":                   true,
	} {
		require.NoError(t, os.WriteFile(status, []byte(content), 0o600))
		require.Equal(t, want, hasCapability(status, capSysResource), content)
	}
	require.True(t, hasCapability(status+"-none", capSysResource))
}

// fake puts commands of these names, with these shell bodies, first in the search path, and nothing else.
func fake(t *testing.T, bodies map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range bodies {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o700))
	}
	t.Setenv("PATH", dir)
	t.Setenv(Variable, "")
	t.Setenv("DOCKER_HOST", "tcp://192.0.2.9:2375") // not this host's daemon, so its process is not looked at
}

func TestClientWithoutDaemonIsNoEngine(t *testing.T) {
	fake(t, map[string]string{
		"docker": `echo '{"ServerVersion":"","ServerErrors":["Cannot connect to the Docker daemon"]}'`,
		"podman": `echo '{"host":{"cgroupVersion":"v1","security":{"rootless":true}},"version":{"Version":"4.3.1"}}'`,
	})
	e, attempts, err := Find(context.Background(), Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	require.Equal(t, "podman", e.Name)
	require.Equal(t, "4.3.1", e.Version)
	require.Equal(t, 1, e.CgroupVersion)
	require.True(t, e.Rootless)
	require.Equal(t, []Attempt{
		{"docker", "the client is there, the daemon is not: Cannot connect to the Docker daemon"},
		{"podman", "answers, version 4.3.1"},
	}, attempts)
}

func TestDaemonErrorOfClient(t *testing.T) {
	fake(t, map[string]string{"docker": "echo 'Cannot connect' >&2; exit 1"})
	_, attempts, err := Find(context.Background(), Options{})
	require.ErrorContains(t, err, "no container engine answers: start one of them, or install podman; tried in this order: docker (")
	require.ErrorContains(t, err, "podman (not installed), nerdctl (not installed)")
	require.Len(t, attempts, 3)
	require.Contains(t, attempts[0].Result, "Cannot connect")
}

func TestWantedEngineOnly(t *testing.T) {
	fake(t, map[string]string{"docker": `echo '{"ServerVersion":"28.2.2","CgroupVersion":"2"}'`, "nerdctl": "exit 1"})
	e, _, err := Find(context.Background(), Options{})
	require.NoError(t, err)
	require.Equal(t, "docker", e.Name)
	require.Equal(t, 2, e.CgroupVersion)
	t.Setenv(Variable, "nerdctl")
	_, attempts, err := Find(context.Background(), Options{})
	require.ErrorContains(t, err, "start or install it, or choose another")
	require.Len(t, attempts, 1)
	_, _, err = Find(context.Background(), Options{Want: "lxc"})
	require.ErrorContains(t, err, "choose docker, podman or nerdctl")
}

func TestOutputErrorCarriesCommandAndStderr(t *testing.T) {
	fake(t, map[string]string{"podman": `if [ "$1" = info ]; then echo '{}'; exit; fi; echo 'level=warning msg=x' >&2; echo 'no such thing' >&2; exit 3`})
	e, _, err := Find(context.Background(), Options{Want: "podman"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	_, err = e.Output(context.Background(), "rm", "x")
	require.EqualError(t, err, "podman rm x: exit status 3: no such thing")
}
