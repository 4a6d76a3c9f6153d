package nodeimage

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPickMirror(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"nothing":          {"", ""},
		"the release":      {"http://m/debian bookworm main\n", "http://m/debian"},
		"security first":   {"http://m/debian-security bookworm-security main\nhttp://m/debian bookworm main\n", "http://m/debian"},
		"security, old":    {"http://m/debian-security bookworm/updates main\nhttp://m/debian bookworm main", "http://m/debian"},
		"updates only":     {"http://m/debian bookworm-updates main\n", ""},
		"other component":  {"http://m/debian bookworm contrib\n", ""},
		"other repository": {"http://dl/docker bookworm stable\nhttp://m/debian bookworm main\n", "http://m/debian"},
		"unreadable":       {"one two\nthree\n", ""},
	} {
		require.Equal(t, c.want, pickMirror(c.in), name)
	}
}

func FuzzPickMirror(f *testing.F) {
	f.Add("http://m/debian bookworm main\n")
	f.Fuzz(func(t *testing.T, targets string) {
		require.NotContains(t, pickMirror(targets), " ")
	})
}

func TestDrop(t *testing.T) {
	for name, want := range map[string]bool{
		"etc/systemd/system/multi-user.target.wants/cron.service":                    true,
		"lib/systemd/system/basic.target.wants/x.service":                            true,
		"usr/lib/systemd/system/sockets.target.wants/systemd-udevd-control.socket":   true,
		"usr/lib/systemd/system/sockets.target.wants/dbus.socket":                    false,
		"usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service": true,
		"usr/lib/systemd/system/sysinit.target.wants/systemd-sysctl.service":         false,
		"etc/systemd/system": false,
		"usr/bin/bash":       false,
	} {
		require.Equal(t, want, isDropped(name), name)
	}
}

func TestContainerdForKeepsKindsText(t *testing.T) {
	kind := "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  restrict_oom_score_adj = false\n"
	got := string(containerdFor([]byte(kind), false))
	require.Contains(t, got, kind)
	// A key of the whole file must come before its first table.
	require.Regexp(t, `^root = "/kind/containerd"\n`, got)
	require.Regexp(t, `(?m)^\[plugins\."io\.containerd\.snapshotter\.v1\.overlayfs"\]\n  root_path = "/var/lib/`, got)
	require.NotContains(t, got, "bin_dir")
	require.Equal(t, got+"\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\n  bin_dir = \"/opt/cni/bin\"\n", string(containerdFor([]byte(kind), true)))
}

func TestBaseSpec(t *testing.T) {
	for name, in := range map[string]string{
		"no hooks":    `{"ociVersion":"1.3.0","process":{"cwd":"/","rlimits":[{"type":"RLIMIT_NOFILE"}]}}`,
		"other hooks": `{"hooks":{"createContainer":[],"poststop":[{"path":"/x"}]},"process":{}}`,
		"no process":  `{}`,
	} {
		out, err := baseSpec([]byte(in))
		require.NoError(t, err, name)
		var s struct {
			Hooks   map[string][]struct{ Path string }
			Process map[string]any
		}
		require.NoError(t, json.Unmarshal(out, &s), name)
		require.Equal(t, "/kind/bin/mount-product-files.sh", s.Hooks["createContainer"][0].Path, name)
		require.NotContains(t, s.Process, "rlimits", name)
	}
	_, err := baseSpec([]byte("no JSON"))
	require.ErrorContains(t, err, "ctr")
}

func FuzzBaseSpec(f *testing.F) {
	f.Add([]byte(`{"hooks":{"createContainer":[]},"process":{"rlimits":[]}}`))
	f.Add([]byte(`{"hooks":3,"process":[]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if out, err := baseSpec(in); err == nil {
			require.Contains(t, string(out), "mount-product-files.sh")
		}
	})
}

func TestLayer(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	require.NoError(t, os.WriteFile(from, []byte("copied"), 0o600))
	l, err := newLayer(filepath.Join(dir, "l.tar"))
	require.NoError(t, err)
	require.NoError(t, l.text("a/b/text", 0o644, []byte("hello")))
	require.NoError(t, l.copy("a/b/copy", 0o755, from))
	require.NoError(t, l.link("a/link", "b/text"))
	require.NoError(t, l.folder("a", 0o700), "a folder that is there already")
	layer, err := l.done()
	require.NoError(t, err)
	size, err := layer.Size()
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(dir, "l.tar"))
	require.NoError(t, err)
	require.Equal(t, info.Size(), size)

	type entry struct {
		name, text string
		mode       int64
	}
	var got []entry
	var filtered bytes.Buffer
	w := tar.NewWriter(&filtered)
	r, err := layer.Uncompressed()
	require.NoError(t, err)
	require.NoError(t, copyArchive(r, w, func(name string) bool { return name == "a/b/copy" }))
	require.NoError(t, w.Close())
	require.NoError(t, r.Close())
	for tr := tar.NewReader(&filtered); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.Zero(t, h.Uid)
		b, err := io.ReadAll(tr)
		require.NoError(t, err)
		got = append(got, entry{h.Name, string(b) + h.Linkname, h.Mode})
	}
	require.Equal(t, []entry{{"a/", "", 0o755}, {"a/b/", "", 0o755}, {"a/b/text", "hello", 0o644}, {"a/link", "b/text", 0o777}}, got)
}

func TestClosureFollowsLinks(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "usr/bin/real"), []byte("#!/bin/sh\n"), 0o755))
	require.NoError(t, os.Symlink("real", filepath.Join(root, "usr/bin/near")))
	require.NoError(t, os.Symlink("/bin/near", filepath.Join(root, "usr/bin/far")))
	all, err := closure(os.DirFS(root), []string{"bin/far"})
	require.NoError(t, err)
	require.Equal(t, []string{"usr/bin/far", "usr/bin/near", "usr/bin/real"}, all)
	_, err = closure(os.DirFS(root), []string{"usr/bin/none"})
	require.Error(t, err)
}
