package nodeimage

import (
	"cmp"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"
)

func TestHashOfTellsInputsApart(t *testing.T) {
	tree := func(files ...string) fstest.MapFS {
		m := fstest.MapFS{}
		for i := 0; i < len(files); i += 2 {
			m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
		}
		return m
	}
	hash := func(facts []string, tree fstest.MapFS) string {
		h, err := hashOf(facts, tree)
		require.NoError(t, err)
		require.Len(t, h, hashLength)
		return h
	}
	base := hash([]string{"amd64", "go1"}, tree("a", "1", "b/c", "2"))
	require.Equal(t, base, hash([]string{"amd64", "go1"}, tree("b/c", "2", "a", "1")), "the order of files does not count")
	for name, other := range map[string]string{
		"another fact":         hash([]string{"arm64", "go1"}, tree("a", "1", "b/c", "2")),
		"facts joined":         hash([]string{"amd64go1"}, tree("a", "1", "b/c", "2")),
		"another content":      hash([]string{"amd64", "go1"}, tree("a", "1", "b/c", "3")),
		"another name":         hash([]string{"amd64", "go1"}, tree("a", "1", "b/d", "2")),
		"a file less":          hash([]string{"amd64", "go1"}, tree("a", "1")),
		"content moved across": hash([]string{"amd64", "go1"}, tree("a", "12", "b/c", "")),
	} {
		require.NotEqual(t, base, other, name)
	}
}

func TestHashIsStable(t *testing.T) {
	one, err := Hash(Versions{})
	require.NoError(t, err)
	two, err := Hash(Versions{Kubernetes: "1.36", Containerd: "2.4"})
	require.NoError(t, err)
	require.Equal(t, one, two)
}

// The hash must know all code that makes the image.
func TestRecipeHasTheCode(t *testing.T) {
	notMaking := map[string]bool{"cache.go": true, "choose.go": true, "command.go": true, "doc.go": true, "keep.go": true, "programs.go": true, "scratch.go": true, "step.go": true,
		"hash.go": true, "versions.go": true /* what it chooses counts itself */}
	list, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, e := range list {
		name := e.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		lists := 0
		for _, list := range []interface{ Open(string) (fs.File, error) }{recipe, debsRecipe, runtimeRecipe} {
			if _, err := list.Open(name); err == nil {
				lists++
			}
		}
		if notMaking[name] {
			lists++
		}
		require.Equal(t, 1, lists, "%s: in the recipe, in that of Debian's packages, in that of runtimes or in this test's list, and in one only", name)
	}
}

func TestModules(t *testing.T) {
	used := map[string]bool{"kind": true}
	for _, v := range pairs() {
		for _, c := range v.components() {
			if c.packaged != nil {
				require.Equal(t, v.Containerd, c.packaged.version)
				continue
			}
			m, err := c.read()
			require.NoError(t, err)
			require.NotEmpty(t, m.tools, c.name)
			require.Contains(t, string(m.sum), c.path+" "+m.version+" h1:", c.name)
			used[cmp.Or(c.module, c.name)] = true
			switch c.name {
			case "kubernetes":
				require.True(t, strings.HasPrefix(m.version, "v"+v.Kubernetes+"."), "%s of Kubernetes %s", m.version, v.Kubernetes)
			case "containerd":
				require.True(t, strings.HasPrefix(m.version, "v"+v.Containerd+"."), "%s of containerd %s", m.version, v.Containerd)
			}
		}
	}
	list, err := inputs.ReadDir("modules")
	require.NoError(t, err)
	for _, f := range list {
		require.True(t, used[strings.TrimSuffix(strings.TrimSuffix(f.Name(), ".mod"), ".sum")], "no image uses %s", f.Name())
	}
	_, err = readModule("etcd", "example.invalid/other")
	require.ErrorContains(t, err, "does not require")
	_, err = readModule("nothing", "x")
	require.Error(t, err)
}

// Kubernetes' staging modules must all be of its own release.
func TestKubernetesStagingModules(t *testing.T) {
	for _, version := range kubernetesVersions {
		c, err := componentNamed(Versions{Kubernetes: version, Containerd: containerdVersions[0]}.components(), "kubernetes")
		require.NoError(t, err)
		m, err := c.read()
		require.NoError(t, err)
		f, err := modfile.Parse("kubernetes.mod", m.mod, nil)
		require.NoError(t, err)
		want := strings.Replace(m.version, "v1.", "v0.", 1)
		staging := 0
		for _, r := range f.Replace {
			require.Equal(t, r.Old.Path, r.New.Path)
			require.Equal(t, want, r.New.Version, r.Old.Path)
			staging++
		}
		require.Greater(t, staging, 30, version)
		require.Len(t, m.tools, 7, version)
	}
}

// The files come from the kind whose library makes the cluster.
func TestKindIsTheOneInUse(t *testing.T) {
	m, err := readModule("kind", "sigs.k8s.io/kind")
	require.NoError(t, err)
	b, err := os.ReadFile("../../../go.mod")
	require.NoError(t, err)
	require.Contains(t, string(b), "sigs.k8s.io/kind "+m.version)
}

func TestLdflags(t *testing.T) {
	c := component{stamp: append(kubernetesStamp("a/b"), "x.Version={version}")}
	require.Equal(t, "-s -w -X a/b.gitVersion=v1.36.3 -X a/b.gitMajor=1 -X a/b.gitMinor=36 -X a/b.gitTreeState=archive -X x.Version=v1.36.3", c.ldflags("v1.36.3"))
	require.Equal(t, "-s -w", component{}.ldflags("v1"))
}
