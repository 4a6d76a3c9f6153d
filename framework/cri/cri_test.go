package cri

import (
	"testing"

	"github.com/stretchr/testify/require"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/parley-k8s/parley/framework/requirement"
)

func TestEndpointIn(t *testing.T) {
	for _, c := range []struct{ configz, path, unsupported, err string }{
		{configz: `{"kubeletconfig":{"containerRuntimeEndpoint":"unix:///run/containerd/containerd.sock"}}`, path: "/run/containerd/containerd.sock"},
		{configz: `{"kubeletconfig":{"containerRuntimeEndpoint":"/var/run/crio/crio.sock"}}`, path: "/var/run/crio/crio.sock"},
		{configz: `{"kubeletconfig":{"containerRuntimeEndpoint":"unix:///run/../run/x.sock"}}`, path: "/run/x.sock"},
		{configz: `{"kubeletconfig":{"containerRuntimeEndpoint":"npipe:////./pipe/containerd"}}`, unsupported: `"npipe:////./pipe/containerd"`},
		{configz: `{"kubeletconfig":{}}`, unsupported: `""`},
		{configz: `<html>`, err: "reading the kubelet's configz on n"},
	} {
		got, err := endpointIn([]byte(c.configz), "n")
		var u *requirement.Unsupported
		switch {
		case c.unsupported != "":
			require.ErrorAs(t, err, &u, c.configz)
			require.Contains(t, u.Probed, c.unsupported)
		case c.err != "":
			require.ErrorContains(t, err, c.err)
		default:
			require.NoError(t, err)
			require.Equal(t, c.path, got)
		}
	}
}

func TestDirect(t *testing.T) {
	for at, want := range map[string]string{
		"/var/run/crio/crio.sock": "/run/crio/crio.sock", "/run/containerd/containerd.sock": "/run/containerd/containerd.sock",
		"/var/runner/x.sock": "/var/runner/x.sock", "/srv/var/run/x.sock": "/srv/var/run/x.sock",
	} {
		require.Equal(t, want, Direct(at))
	}
}

func TestNewestFirst(t *testing.T) {
	got := newestFirst([]*cri.PodSandbox{{Id: "old", CreatedAt: 1}, {Id: "new", CreatedAt: 9}, {Id: "middle", CreatedAt: 5}})
	var ids []string
	for _, s := range got {
		ids = append(ids, s.Id)
	}
	require.Equal(t, []string{"new", "middle", "old"}, ids)
}

func TestOwner(t *testing.T) {
	namespace, pod, container, ok := Owner(map[string]string{podNamespaceLabel: "n", podNameLabel: "p", containerLabel: "c"})
	require.True(t, ok)
	require.Equal(t, []string{"n", "p", "c"}, []string{namespace, pod, container})
	_, _, _, ok = Owner(map[string]string{"app": "x"})
	require.False(t, ok)
}
