package nodeimage

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/parley-k8s/parley/framework/internal/cluster"
)

// nodeWith is a node image: layers of files by name and content, in pairs, under one with containerd's store of the images.
func nodeWith(t *testing.T, images map[string]v1.Image, layers ...[]string) v1.Image {
	t.Helper()
	const root = "kind/containerd"
	db := filepath.Join(t.TempDir(), "meta.db")
	b, err := bbolt.Open(db, 0o600, nil)
	require.NoError(t, err)
	store := []string{}
	blob := func(raw []byte, sum string) { store = append(store, root+blobsPart+sum, string(raw)) }
	require.NoError(t, b.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte("v1"))
		require.NoError(t, err)
		for _, part := range []string{"k8s.io", "images"} {
			bucket, err = bucket.CreateBucketIfNotExists([]byte(part))
			require.NoError(t, err)
		}
		for ref, img := range images {
			raw, err := img.RawManifest()
			require.NoError(t, err)
			digest, err := img.Digest()
			require.NoError(t, err)
			blob(raw, digest.Hex)
			config, err := img.RawConfigFile()
			require.NoError(t, err)
			named, err := img.ConfigName()
			require.NoError(t, err)
			blob(config, named.Hex)
			all, err := img.Layers()
			require.NoError(t, err)
			for _, l := range all {
				r, err := l.Compressed()
				require.NoError(t, err)
				raw, err := io.ReadAll(r)
				require.NoError(t, err)
				sum, err := l.Digest()
				require.NoError(t, err)
				blob(raw, sum.Hex)
			}
			// As containerd makes of an archive: an index, with an entry for another architecture whose content is not there.
			index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{
				{MediaType: types.OCIManifestSchema1, Digest: v1.Hash{Algorithm: "sha256", Hex: sumA}, Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}},
				{MediaType: types.OCIManifestSchema1, Digest: digest, Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}},
			}})
			require.NoError(t, err)
			sum := sumOf(string(index))
			blob(index, sum)
			for _, key := range []string{ref, "sha256:" + sum, ref[:strings.LastIndex(ref, ":")] + "@sha256:" + sum} {
				image, err := bucket.CreateBucketIfNotExists([]byte(key))
				require.NoError(t, err)
				target, err := image.CreateBucketIfNotExists([]byte("target"))
				require.NoError(t, err)
				require.NoError(t, target.Put([]byte("digest"), []byte("sha256:"+sum)))
			}
		}
		return nil
	}))
	require.NoError(t, b.Close())
	meta, err := os.ReadFile(db)
	require.NoError(t, err)
	store = append(store, root+metadataPart, string(meta))
	img := v1.Image(empty.Image)
	for _, files := range append(layers, store) {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archived(t, files...))), nil })
		require.NoError(t, err)
		img, err = mutate.AppendLayers(img, l)
		require.NoError(t, err)
	}
	return img
}

func read(t *testing.T, img v1.Image) *nodeFiles {
	t.Helper()
	n, err := readNode(img, t.TempDir())
	require.NoError(t, err)
	return n
}

func TestReadNode(t *testing.T) {
	pause, err := random.Image(100, 2)
	require.NoError(t, err)
	n := read(t, nodeWith(t, map[string]v1.Image{"registry.k8s.io/pause:3.10": pause},
		[]string{"bin/a", "1", "./lib64/libx.so.1", "2", "opt/b/c", "3", "opt/d/e", "4", "srv/f", "5"},
		[]string{"usr/bin/.wh.a", "", "opt/b/.wh..wh..opq", "", ".wh.srv", "", "opt/b/new", "6"}))
	for name, there := range map[string]bool{"usr/bin/a": false, "usr/lib64/libx.so.1": true, "opt/b/c": false, "opt/b/new": true, "opt/d/e": true, "srv/f": false} {
		require.Equal(t, there, n.names[name], name)
	}
	require.True(t, n.hasLibrary("libx.so.1"))
	require.False(t, n.hasLibrary("new"))
	require.Equal(t, "opt/d/e", n.firstPresent("x", "opt/d/e"))
	require.Empty(t, n.firstPresent("x"))
	require.Equal(t, "kind/containerd", n.root)

	images, err := n.images()
	require.NoError(t, err)
	require.Len(t, images, 1, "an image's names by digest are not names of their own")
	got := images[name.MustParseReference("registry.k8s.io/pause:3.10").(name.Tag)]
	want, err := pause.ConfigName()
	require.NoError(t, err)
	have, err := got.ConfigName()
	require.NoError(t, err)
	require.Equal(t, want, have)
	archive := filepath.Join(t.TempDir(), "images.tar")
	require.NoError(t, tarball.MultiWriteToFile(archive, images))
	again, err := tarball.ImageFromPath(archive, nil)
	require.NoError(t, err)
	layers, err := again.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 2)
}

// What is put on an image is what it was, its own layers plain, and one more.
func TestWithRuntime(t *testing.T) {
	pause, err := random.Image(10, 1)
	require.NoError(t, err)
	below, err := mutate.Config(nodeWith(t, map[string]v1.Image{"registry.k8s.io/pause:3.10": pause}, []string{"usr/sbin/runc", "1"}),
		v1.Config{Env: []string{"container=docker"}, StopSignal: "SIGRTMIN+3"})
	require.NoError(t, err)
	node := read(t, below)
	images, err := node.images()
	require.NoError(t, err)
	limits := folder(t, map[string]string{"ocilimits": "1"})
	rt, err := cluster.RuntimeOf("crio")
	require.NoError(t, err)
	store := filepath.Join(folder(t, map[string]string{"store.tar": string(archived(t, "kind/store/x", "1"))}), "store.tar")
	img, err := (&builder{dir: t.TempDir()}).withRuntime(below, rt, runtimeParts{node: node, images: images, limits: limits, store: store})
	require.NoError(t, err)

	file := filepath.Join(t.TempDir(), "node.tar")
	require.NoError(t, tarball.WriteToFile(file, name.MustParseReference("a/b:c").(name.Tag), img))
	again, err := tarball.ImageFromPath(file, nil)
	require.NoError(t, err)
	config, err := again.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, "crio", config.Config.Labels[RuntimeLabel])
	require.Equal(t, []string{"container=docker"}, config.Config.Env)
	layers, err := again.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 4)
	require.Equal(t, map[string]string{"usr/sbin/runc": "1"}, entries(t, layers[0]))
	require.Contains(t, entries(t, layers[2]), "kind/.wh.containerd")
	require.Contains(t, entries(t, layers[3]), "kind/store/x")
	was, err := below.Layers()
	require.NoError(t, err)
	for i, l := range was {
		want, err := l.DiffID()
		require.NoError(t, err)
		require.Equal(t, want, config.RootFS.DiffIDs[i], "the engine has the layer already")
	}
}

func TestANodeWithoutImages(t *testing.T) {
	_, err := (&nodeFiles{}).images()
	require.ErrorContains(t, err, "no store of containerd's")
	_, err = read(t, nodeWith(t, nil)).images()
	require.ErrorContains(t, err, "no image with a name")
}

// entries reads an archive into the entries' names and what they hold: a file's content, or a link's target.
func entries(t *testing.T, l v1.Layer) map[string]string {
	t.Helper()
	r, err := l.Uncompressed()
	require.NoError(t, err)
	defer r.Close()
	all := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return all
		}
		require.NoError(t, err)
		text, err := io.ReadAll(tr)
		require.NoError(t, err)
		if h.Typeflag != tar.TypeDir {
			all[h.Name] = string(text) + h.Linkname
		}
	}
}

// The test's own program stands for those of a bundle: it is one for this architecture.
func TestRuntimeLayer(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	program := func(names ...string) string {
		dir := t.TempDir()
		for _, n := range names {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, path.Dir(n)), 0o755))
			require.NoError(t, os.Symlink(self, filepath.Join(dir, n)))
		}
		return dir
	}
	tools := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(tools, "usr/bin"), 0o755))
	for _, n := range []string{"conmon", "skopeo"} {
		require.NoError(t, os.WriteFile(filepath.Join(tools, "usr/bin", n), []byte("#!tool"), 0o755))
	}
	pause, err := random.Image(10, 1)
	require.NoError(t, err)
	node := read(t, nodeWith(t, map[string]v1.Image{"registry.k8s.io/pause:3.10": pause, "registry.k8s.io/etcd:3.6": pause},
		[]string{"usr/local/bin/containerd", "1", "usr/local/bin/ctr", "1", "usr/sbin/runc", "1", "etc/systemd/system/containerd.service", "1",
			"usr/lib/libc.so.6", "1", "usr/lib/libpthread.so.0", "1", "usr/lib/libresolv.so.2", "1"}))
	images, err := node.images()
	require.NoError(t, err)
	archive := filepath.Join(t.TempDir(), "images.tar")
	require.NoError(t, tarball.MultiWriteToFile(archive, images))

	made := func(runtimeName string, p runtimeParts) (map[string]string, error) {
		rt, err := cluster.RuntimeOf(runtimeName)
		require.NoError(t, err)
		p.node, p.images, p.archive, p.limits = node, images, archive, program("ocilimits")
		l, err := newLayer(filepath.Join(t.TempDir(), "l.tar"))
		require.NoError(t, err)
		if err := l.runtime(rt, p); err != nil {
			return nil, err
		}
		done, err := l.done()
		require.NoError(t, err)
		return entries(t, done), nil
	}
	for name, c := range map[string]struct {
		runtime string
		parts   runtimeParts
		there   []string          // entries
		not     []string          // no entries
		holds   map[string]string // parts of entries
	}{
		"CRI-O of a build": {"crio", runtimeParts{programs: program("crio", "pinns"), names: []string{"crio", "pinns"}, tools: tools},
			[]string{"usr/local/bin/crio", "usr/local/bin/pinns", "usr/bin/conmon", "usr/bin/skopeo", "kind/bin/ocilimits",
				"usr/local/bin/.wh.containerd", "usr/local/bin/.wh.ctr", "kind/.wh.containerd", "etc/systemd/system/.wh.containerd.service"},
			[]string{"usr/local/bin/.wh.containerd-shim-runc-v2", "kind/images.tar", "usr/libexec/crio/runc"},
			map[string]string{
				"kind/bin/runc":                                           "/usr/sbin/runc",
				"etc/crio/crio.conf.d/10-parley.conf":                     "monitor_path = \"/usr/bin/conmon\"\n",
				"etc/containers/storage.conf":                             cluster.StoreAt,
				"etc/default/kubelet":                                     "--runtime-cgroups=/system.slice/crio.service",
				"etc/systemd/system/multi-user.target.wants/crio.service": "/etc/systemd/system/crio.service",
			}},
		"CRI-O of a release": {"crio", runtimeParts{programs: program("crio", "pinns", "conmon", "runc", "crictl"),
			names: []string{"conmon", "crictl", "crio", "pinns", "runc"}, tools: tools},
			[]string{"usr/libexec/crio/conmon", "usr/local/bin/crictl", "usr/bin/skopeo"}, []string{"usr/bin/conmon"},
			map[string]string{
				"kind/bin/runc":                       "/usr/libexec/crio/runc",
				"etc/crio/crio.conf.d/10-parley.conf": "pinned_images = [\n  \"registry.k8s.io/etcd:3.6\",\n  \"registry.k8s.io/pause:3.10\",\n]\n",
			}},
		"Docker Engine": {"docker", runtimeParts{programs: program("cri-dockerd"), names: []string{"cri-dockerd"},
			debs: program("dockerd", "docker", "containerd", "containerd-shim-runc-v2")},
			[]string{"usr/local/bin/cri-dockerd", "usr/sbin/dockerd", "usr/bin/containerd", "kind/images.tar", "usr/local/bin/.wh.containerd"}, nil,
			map[string]string{
				"etc/systemd/system/cri-docker.service": "--pod-infra-container-image=registry.k8s.io/pause:3.10\n",
				"etc/docker/daemon.json":                "\"/kind/bin/ocilimits\"",
			}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := made(c.runtime, c.parts)
			require.NoError(t, err)
			for _, n := range c.there {
				require.Contains(t, got, n)
			}
			for _, n := range c.not {
				require.NotContains(t, got, n)
			}
			for n, part := range c.holds {
				require.Contains(t, got[n], part, n)
			}
			for n, text := range got {
				require.False(t, strings.HasPrefix(n, "var/"), n)
				require.False(t, strings.HasPrefix(n, "etc/") && strings.Contains(text, "{{"), n)
			}
		})
	}
	delete(node.names, "usr/sbin/runc")
	_, err = made("crio", runtimeParts{programs: program("crio", "pinns"), names: []string{"crio", "pinns"}, tools: tools})
	require.ErrorContains(t, err, "neither the bundle nor the node image has runc")
}

func TestValuesWantPause(t *testing.T) {
	_, err := valuesOf(runtimeParts{images: map[name.Tag]v1.Image{name.MustParseReference("a/pauses:1").(name.Tag): nil}}, nil)
	require.ErrorContains(t, err, "no pause image among a/pauses:1")
}

func TestStoreImage(t *testing.T) {
	argv := storeImage(name.MustParseReference("registry.k8s.io/pause:3.10").(name.Tag))
	require.Equal(t, "containers-storage:[overlay@/kind/store+/run/store]registry.k8s.io/pause:3.10", argv[len(argv)-1])
	require.True(t, slices.Contains(argv, "docker-archive:/in/components.tar:registry.k8s.io/pause:3.10"))
}

func TestRuntimeHashKnowsWhatGoesIn(t *testing.T) {
	crio, err := cluster.RuntimeOf("crio")
	require.NoError(t, err)
	docker, err := cluster.RuntimeOf("docker")
	require.NoError(t, err)
	other := crio
	layer := *crio.Layer
	layer.Units = nil
	other.Layer = &layer
	seen := map[string]bool{}
	for _, c := range []struct {
		rt               cluster.Runtime
		below, sum, goes string
	}{{crio, "id", sumA, "go1"}, {crio, "id2", sumA, "go1"}, {crio, "id", sumB, "go1"}, {crio, "id", sumA, "go2"}, {docker, "id", sumA, "go1"}, {other, "id", sumA, "go1"}} {
		got, err := runtimeHash(c.rt, c.below, c.sum, c.goes)
		require.NoError(t, err)
		require.Regexp(t, "^"+c.rt.Name+"-[0-9a-f]{16}$", got)
		require.False(t, seen[got])
		seen[got] = true
		again, err := runtimeHash(c.rt, c.below, c.sum, c.goes)
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
}
