package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/reports"
)

func TestImagePush(t *testing.T) {
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	at := strings.TrimPrefix(srv.URL, "http://") + "/parley/agent"
	code, out, errOut := parley(t, "image", "push", at+":v1")
	require.Equal(t, reports.ExitPassed, code, errOut)

	ref, err := name.NewDigest(strings.TrimSpace(out))
	require.NoError(t, err, "what it prints names one image for good")
	require.Equal(t, at, ref.Context().Name())
	idx, err := remote.Index(ref, remote.WithContext(t.Context()))
	require.NoError(t, err)
	m, err := idx.IndexManifest()
	require.NoError(t, err)
	var archs []string
	for _, d := range m.Manifests {
		archs = append(archs, d.Platform.Architecture)
	}
	require.Equal(t, []string{"amd64", "arm64"}, archs)

	tag, err := name.NewTag(at + ":v1")
	require.NoError(t, err)
	head, err := remote.Head(tag, remote.WithContext(t.Context()))
	require.NoError(t, err)
	require.Equal(t, ref.DigestStr(), head.Digest.String())
}

func TestImagePushToNoRegistry(t *testing.T) {
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	at := strings.TrimPrefix(srv.URL, "http://")
	srv.Close()
	code, _, errOut := parley(t, "image", "push", "--arch", "amd64", at+"/parley/agent:v1")
	require.Equal(t, reports.ExitUnjudged, code)
	require.Equal(t, 1, strings.Count(errOut, "\n"), errOut)
	require.Contains(t, errOut, at)
	require.Contains(t, errOut, "connection refused")
}

func TestImageSave(t *testing.T) {
	for _, c := range []struct {
		arch string
		want []string
	}{
		{"arm64", []string{"arm64"}},
		{"amd64,arm64,amd64", []string{"amd64", "arm64"}},
	} {
		file := filepath.Join(t.TempDir(), "agent.tar")
		require.NoError(t, os.WriteFile(file, []byte("what was there"), 0o600))
		code, out, errOut := parley(t, "image", "save", file, "--arch", c.arch)
		require.Equal(t, reports.ExitPassed, code, errOut)
		refs := strings.Fields(out)
		require.Len(t, refs, len(c.want))
		for i, ref := range refs {
			tag, err := name.NewTag(ref)
			require.NoError(t, err)
			img, err := tarball.ImageFromPath(file, &tag)
			require.NoError(t, err, "the archive has what was printed")
			config, err := img.ConfigFile()
			require.NoError(t, err)
			require.Equal(t, c.want[i], config.Architecture)
			layers, err := img.Layers()
			require.NoError(t, err)
			require.Len(t, layers, 1)
		}
		left, err := os.ReadDir(filepath.Dir(file))
		require.NoError(t, err)
		require.Len(t, left, 1, "nothing but the archive stays")
	}
}
