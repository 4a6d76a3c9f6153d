package hostpath

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestResolve(t *testing.T) {
	links := map[string]string{
		"/etc/resolv.conf":      "../run/systemd/resolve/stub-resolv.conf",
		"/var/run":              "/run",
		"/etc/alternative":      "/var/run/resolv/../resolvconf/resolv.conf",
		"/run/resolvconf":       "systemd",
		"/loop":                 "/loop",
		"/etc/up":               "../../../etc/plain",
		"/run/systemd/absolute": "/etc/resolv.conf",
	}
	readlink := func(p string) (string, bool, error) {
		if p == "/broken" {
			return "", false, errors.New("the agent is gone")
		}
		target, link := links[p]
		return target, link, nil
	}
	for p, want := range map[string]string{
		"/etc/plain":            "/etc/plain",
		"/etc//./plain":         "/etc/plain",
		"/etc/resolv.conf":      "/run/systemd/resolve/stub-resolv.conf",
		"/var/run/x":            "/run/x",
		"/etc/alternative":      "/run/systemd/resolv.conf",
		"/etc/up":               "/etc/plain",
		"/run/systemd/absolute": "/run/systemd/resolve/stub-resolv.conf",
		"/":                     "/",
		"":                      "/",
	} {
		got, err := Resolve(p, readlink)
		require.NoError(t, err)
		require.Equal(t, want, got, p)
	}
	_, err := Resolve("/loop", readlink)
	require.ErrorContains(t, err, "more than 40 symbolic links")
	_, err = Resolve("/broken/x", readlink)
	require.ErrorContains(t, err, "the agent is gone")
}
