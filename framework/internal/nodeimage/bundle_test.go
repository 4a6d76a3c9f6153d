package nodeimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/cluster"
)

const (
	sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sumB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestParseSums(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want map[string]string
		says string
	}{
		"nothing":           {"", map[string]string{}, ""},
		"sha256sum":         {sumA + "  x.tgz\n" + sumB + " *./dir/y.tgz\n", map[string]string{"x.tgz": sumA, "y.tgz": sumB}, ""},
		"sha256sum --tag":   {"SHA256 (x (1).tgz) = " + sumA, map[string]string{"x (1).tgz": sumA}, ""},
		"a sum alone":       {strings.ToUpper(sumA) + "\n", map[string]string{"": sumA}, ""},
		"comments":          {"# by hand\n\n" + sumA + "  x\r\n", map[string]string{"x": sumA}, ""},
		"the same twice":    {sumA + "  x\n" + sumA + "  x\n", map[string]string{"x": sumA}, ""},
		"two for one":       {sumA + "  x\n" + sumB + "  x\n", nil, `two sums for "x"`},
		"another algorithm": {"d41d8cd98f00b204e9800998ecf8427e  x\n", nil, "is no line of sha256sum's"},
		"a web page":        {"<html>", nil, "is no line of sha256sum's"},
	} {
		got, err := parseSums(c.in)
		if c.says != "" {
			require.ErrorContains(t, err, c.says, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
}

func FuzzParseSums(f *testing.F) {
	f.Add(sumA + "  x\n")
	f.Add("SHA256 (x) = " + sumA)
	f.Fuzz(func(t *testing.T, text string) {
		sums, err := parseSums(text)
		if err != nil {
			return
		}
		for name, sum := range sums {
			require.Len(t, sum, 64)
			require.NotContains(t, name, "\n")
		}
	})
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// product is a bundle whose official address is of this test's own.
func product(address string) cluster.Bundle {
	return cluster.Bundle{Name: "Product", Prefix: "product.{arch}.", Suffix: ".tar.gz", Version: "1.0",
		URL: address + "/product.{arch}.v{version}.tar.gz", Sums: map[string]string{runtime.GOARCH: sumOf("official")}}
}

func TestNamedBundle(t *testing.T) {
	own, official, other := "product."+runtime.GOARCH+".mine.tar.gz", "product."+runtime.GOARCH+".v1.0.tar.gz", "product.mips.mine.tar.gz"
	for name, c := range map[string]struct {
		files map[string]string
		name  string // of a file that is named; "" names the folder
		sum   string // "" for no bundle
		by    string
		says  string
	}{
		"a sum of its own":        {files: map[string]string{own: "x", own + ".sha256sum": sumA + "  " + own}, sum: sumA, by: own + ".sha256sum beside it"},
		"a sum without a name":    {files: map[string]string{own: "x", own + ".sha256": sumA}, sum: sumA, by: own + ".sha256 beside it"},
		"sums of all":             {files: map[string]string{own: "x", "SHA256SUMS": sumB + "  z\n" + sumA + "  " + own}, sum: sumA, by: "SHA256SUMS beside it"},
		"a file":                  {files: map[string]string{own: "x", "SHA256SUMS": sumA + "  " + own}, name: own, sum: sumA, by: "SHA256SUMS beside it"},
		"the pinned release":      {files: map[string]string{official: "x", "SHA256SUMS": sumA + "  " + official}, sum: sumOf("official"), by: "the sum that Parley knows of the release Product 1.0"},
		"another architecture":    {files: map[string]string{other: "x"}},
		"a file of another thing": {files: map[string]string{"cri.tgz": "x"}, name: "cri.tgz"},
		"no sum":                  {files: map[string]string{own: "x"}, says: "sha256sum " + own + " > " + own + ".sha256sum"},
		"no sum of this":          {files: map[string]string{own: "x", "SHA256SUMS": sumA}, says: "nothing vouches for"},
		"a bad file of sums":      {files: map[string]string{own: "x", "SHA256SUMS": "?"}, says: "is no line of sha256sum's"},
		"two":                     {files: map[string]string{own: "x", official: "y"}, says: "has several bundles of Product"},
		"no such folder":          {name: "none", says: "PARLEY_RUNTIME_BUNDLES names no folder or archive"},
	} {
		t.Run(name, func(t *testing.T) {
			b, ok, err := namedBundle(product("https://example.invalid"), filepath.Join(folder(t, c.files), c.name))
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.sum != "", ok)
			require.Equal(t, []string{c.sum, c.by}, []string{b.Sum, b.By})
		})
	}
}

func TestFindBundle(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var methods []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		methods = append(methods, r.Method)
		if strings.HasSuffix(r.URL.Path, ".v1.0.tar.gz") {
			_, _ = w.Write([]byte("official"))
			return
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	of := product(server.URL)
	empty := t.TempDir()

	b, err := FindBundle(t.Context(), of, empty)
	require.NoError(t, err)
	require.Equal(t, server.URL+"/product."+runtime.GOARCH+".v1.0.tar.gz", b.URL)
	require.Empty(t, b.Path)
	require.Equal(t, []string{"HEAD"}, methods)

	// It is fetched once, checked and kept.
	require.NoError(t, withBuildLock(t.Context(), func(Step) {}, func(ctx context.Context, builder *builder) error {
		at, err := builder.bundleFile(ctx, b, &step{})
		require.NoError(t, err)
		require.FileExists(t, at)
		return nil
	}))
	b, err = FindBundle(t.Context(), of, "")
	require.NoError(t, err)
	require.FileExists(t, b.Path)
	require.Equal(t, []string{"HEAD", "GET"}, methods)

	of.Version = "2.0"
	_, err = FindBundle(t.Context(), of, "")
	require.ErrorContains(t, err, "no bundle of Product is named, and "+server.URL)
	require.ErrorContains(t, err, "does not answer (it says 404 Not Found): name a folder that has product."+runtime.GOARCH+".VERSION.tar.gz and its checksum by PARLEY_RUNTIME_BUNDLES or -runtime-bundles")
	_, err = FindBundle(t.Context(), of, empty)
	require.ErrorContains(t, err, empty+" has no bundle of Product, and ")
	of.Sums = nil
	_, err = FindBundle(t.Context(), of, "")
	require.ErrorContains(t, err, "no release of it is known for "+runtime.GOARCH)
}

func TestABundleThatIsNotWhatItShouldBe(t *testing.T) {
	file := filepath.Join(folder(t, map[string]string{"x": "text"}), "x")
	require.NoError(t, checkSum(Bundle{Sum: sumOf("text")}, file))
	require.ErrorContains(t, checkSum(Bundle{Sum: sumA, By: "SHA256SUMS beside it"}, file), "and by SHA256SUMS beside it it is "+sumA)
}

// archived is a tar archive of files by name and content, in pairs.
func archived(t testing.TB, pairs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: pairs[i], Mode: 0o755, Size: int64(len(pairs[i+1]))}))
		_, err := w.Write([]byte(pairs[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestUnpack(t *testing.T) {
	crio := []cluster.Program{{Name: "crio", In: "bin", Must: true}, {Name: "pinns", In: "bin", Must: true}, {Name: "runc", In: "bin"}}
	for name, c := range map[string]struct {
		files []string
		want  []string
		says  string
	}{
		"a release": {files: []string{"cri-o/completions/bash/crio", "c", "cri-o/etc/crio", "e", "cri-o/bin/crio", "1", "cri-o/bin/pinns", "2",
			"cri-o/bin/runc", "3", "cri-o/bin/conmonrs", "4"}, want: []string{"crio", "pinns", "runc"}},
		"a build":               {files: []string{"./bin/pinns", "2", "./bin/crio", "1"}, want: []string{"crio", "pinns"}},
		"at the top":            {files: []string{"crio", "1", "pinns", "2"}, want: []string{"crio", "pinns"}},
		"a part missing":        {files: []string{"cri-o/bin/crio", "1"}, says: "it has no bin/pinns"},
		"twice":                 {files: []string{"bin/crio", "1", "x/bin/crio", "2", "bin/pinns", "3"}, says: "it has crio twice"},
		"in another folder":     {files: []string{"sbin/crio", "1", "bin/pinns", "2"}, says: "it has no bin/crio"},
		"out of its own folder": {files: []string{"../../bin/crio", "1", "/bin/pinns", "2"}, want: []string{"crio", "pinns"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			got, err := unpack(bytes.NewReader(archived(t, c.files...)), crio, dir)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			text, err := os.ReadFile(filepath.Join(dir, "crio"))
			require.NoError(t, err)
			require.Equal(t, "1", string(text))
		})
	}
}

func TestUnpackBundleWantsGzip(t *testing.T) {
	file := filepath.Join(folder(t, map[string]string{"x.tgz": "no archive"}), "x.tgz")
	_, err := unpackBundle(file, nil, t.TempDir())
	require.ErrorContains(t, err, "is no archive packed with gzip")

	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(archived(t, "cri-dockerd/cri-dockerd", "1"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(file, packed.Bytes(), 0o644))
	got, err := unpackBundle(file, []cluster.Program{{Name: "cri-dockerd", In: "cri-dockerd", Must: true}}, t.TempDir())
	require.NoError(t, err)
	require.Equal(t, []string{"cri-dockerd"}, got)
}

// FuzzUnpack: whatever an archive has, nothing but the wanted programs is written, and nowhere else.
func FuzzUnpack(f *testing.F) {
	f.Add(archived(f, "a/bin/crio", "1", "../bin/pinns", "2", "bin/../../crio", "3"))
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "into")
		require.NoError(t, os.Mkdir(dir, 0o755))
		_, _ = unpack(bytes.NewReader(archive), []cluster.Program{{Name: "crio", In: "bin"}, {Name: "pinns", In: "bin"}}, dir)
		above, err := os.ReadDir(parent)
		require.NoError(t, err)
		require.Len(t, above, 1)
		list, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range list {
			require.Contains(t, []string{"crio", "pinns"}, e.Name())
		}
	})
}

func TestRunsOn(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	all := func(string) bool { return true }
	require.NoError(t, runsOn(self, runtime.GOARCH, all))
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	if other != "" {
		require.ErrorContains(t, runsOn(self, other, all), "and the nodes are "+other)
	}
	text := filepath.Join(folder(t, map[string]string{"script": "#!/bin/sh\n"}), "script")
	require.ErrorContains(t, runsOn(text, runtime.GOARCH, all), "script is no program")
}

func TestApt(t *testing.T) {
	require.Equal(t, "deb [signed-by=/k.gpg] http://m/debian trixie main\n", aptSource("http://m/debian", "trixie", "/k.gpg"))
	require.Equal(t, "deb http://m/debian trixie main\n", aptSource("http://m/debian", "trixie", ""))
	require.Contains(t, aptConfig("/x"), "Dir::State::Lists \"/x/lists\";\n")
}
