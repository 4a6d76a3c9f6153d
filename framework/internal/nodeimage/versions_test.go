package nodeimage

import (
	"io/fs"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// pairs are all versions that go together.
func pairs() (all []Versions) {
	for _, k := range kubernetesVersions {
		for _, c := range containerdVersions {
			if v := (Versions{Kubernetes: k, Containerd: c}); v.Unsupported() == "" {
				all = append(all, v)
			}
		}
	}
	return all
}

func TestWhatGoesTogether(t *testing.T) {
	want := map[string][]string{
		"1.37": {"2.4"},
		"1.36": {"2.4"},
		"1.35": {"2.4", "2.1", "1.7"},
		"1.34": {"2.4", "2.1", "1.7"},
	}
	got := map[string][]string{}
	for _, v := range pairs() {
		got[v.Kubernetes] = append(got[v.Kubernetes], v.Containerd)
	}
	require.Equal(t, want, got)
	require.Contains(t, Versions{Kubernetes: "1.36", Containerd: "1.7"}.Unsupported(), "https://kubernetes.io/")
	require.Contains(t, Versions{Kubernetes: "1.37", Containerd: "2.1"}.Unsupported(), "https://github.com/containerd/")
	require.Empty(t, Versions{Containerd: "1.7"}.Unsupported(), "the Kubernetes is open")
}

func TestResolve(t *testing.T) {
	for name, c := range map[string]struct {
		asked, want Versions
		says        string // why it is these, or the error
	}{
		"nothing":               {Versions{}, Versions{"1.36", "2.4"}, ""},
		"the defaults":          {Versions{"1.36", "2.4"}, Versions{"1.36", "2.4"}, "for Kubernetes 1.36 and containerd 2.4"},
		"a Kubernetes":          {Versions{"1.34", ""}, Versions{"1.34", "2.4"}, "for Kubernetes 1.34"},
		"a containerd":          {Versions{"", "2.4"}, Versions{"1.36", "2.4"}, "for containerd 2.4"},
		"an older containerd":   {Versions{"", "2.1"}, Versions{"1.35", "2.1"}, "for containerd 2.1; Kubernetes 1.35 is the newest that supports it"},
		"Debian's":              {Versions{"", "1.7"}, Versions{"1.35", "1.7"}, "for containerd 1.7; Kubernetes 1.35 is the newest that supports it"},
		"both":                  {Versions{"1.34", "1.7"}, Versions{"1.34", "1.7"}, "for Kubernetes 1.34 and containerd 1.7"},
		"not together":          {Versions{"1.36", "1.7"}, Versions{}, "containerd 1.7: it does not go with Kubernetes 1.36: Kubernetes 1.35 is the last that supports containerd 1.x ("},
		"not together either":   {Versions{"1.37", "2.1"}, Versions{}, "ask for Kubernetes 1.35 or older with it"},
		"no such Kubernetes":    {Versions{"1.33", ""}, Versions{}, "no node image can be built with Kubernetes 1.33: choose one of 1.36, 1.37, 1.35, 1.34"},
		"no such containerd":    {Versions{"", "2.0"}, Versions{}, "no node image can be built with containerd 2.0: choose one of 2.4, 2.1, 1.7"},
		"a version that is not": {Versions{"1.35,1.34", ""}, Versions{}, "Kubernetes 1.35,1.34"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.asked.Resolve()
			if c.want == (Versions{}) {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			if c.says != "" {
				require.Equal(t, c.says, got.reason(c.asked))
			}
		})
	}
}

func TestCompareMinor(t *testing.T) {
	require.Positive(t, compareMinor("1.36", "1.9"))
	require.Negative(t, compareMinor("1.7", "2.1"))
	require.Zero(t, compareMinor("1.35", "1.35"))
	require.NotZero(t, compareMinor("", "1.35"))
}

// The files that count for an image are those that it is made of.
func TestIngredients(t *testing.T) {
	files := func(v Versions) (names []string) {
		require.NoError(t, fs.WalkDir(v.ingredients(), ".", func(name string, d fs.DirEntry, err error) error {
			if !d.IsDir() {
				names = append(names, name)
			}
			return err
		}))
		return names
	}
	common := []string{"files/containerd-oom-score.conf", "files/default-storage.yaml", "files/iptables-select", "files/journald.conf", "files/oom-score",
		"modules/cni.mod", "modules/cni.sum", "modules/coredns.mod", "modules/coredns.sum", "modules/etcd.mod", "modules/etcd.sum",
		"modules/kind.mod", "modules/kind.sum", "pause/main.go"}
	for v, own := range map[Versions][]string{
		{"1.36", "2.4"}: {"files/store.toml", "modules/containerd.mod", "modules/containerd.sum", "modules/kubernetes.mod", "modules/kubernetes.sum"},
		{"1.34", "2.1"}: {"files/store.toml", "modules/containerd-2.1.mod", "modules/containerd-2.1.sum", "modules/kubernetes-1.34.mod", "modules/kubernetes-1.34.sum"},
		{"1.35", "1.7"}: {"files/store-1.toml", "modules/kubernetes-1.35.mod", "modules/kubernetes-1.35.sum"},
	} {
		want := slices.Concat(common, own)
		slices.Sort(want)
		require.Equal(t, want, files(v), v.String())
	}
}

func TestEachPairHasAHashOfItsOwn(t *testing.T) {
	seen := map[string]Versions{}
	for _, v := range pairs() {
		hash, err := v.hash("amd64", "go1.26")
		require.NoError(t, err)
		require.NotContains(t, seen, hash, "%s and %s", v, seen[hash])
		seen[hash] = v
	}
}

func TestVersionOfAComponent(t *testing.T) {
	for v, want := range map[Versions][2]string{
		{"1.36", "2.4"}: {"v1.36.", "v2.4."},
		{"1.35", "2.1"}: {"v1.35.", "v2.1."},
		{"1.34", "1.7"}: {"v1.34.", "1.7 of Debian trixie"},
	} {
		k, err := v.kubernetes()
		require.NoError(t, err)
		require.Contains(t, k, want[0])
		c, err := v.versionOf("containerd")
		require.NoError(t, err)
		require.Contains(t, c, want[1])
	}
	_, err := Versions{"1.36", "2.4"}.versionOf("crio")
	require.ErrorContains(t, err, "no component crio")
}

func TestImportUnlabelled(t *testing.T) {
	var calls []string
	ctr := func(args ...string) (string, error) {
		calls = append(calls, args[0]+" "+args[len(args)-1])
		if args[0] == "list" {
			return "registry.k8s.io/a:v1\nregistry.k8s.io/b:v1\n", nil
		}
		calls[len(calls)-1] += " " + args[1]
		return "", nil
	}
	require.NoError(t, importUnlabelled(ctr, []string{"import", "--local"}, "x.tar"))
	require.Equal(t, []string{"import x.tar --local", "list --quiet", "label " + pinned + " registry.k8s.io/a:v1", "label " + pinned + " registry.k8s.io/b:v1"}, calls)
	require.Equal(t, "files/store-1.toml", storeConfig("1.7"))
	require.Equal(t, "files/store.toml", storeConfig("2.1"))
}
