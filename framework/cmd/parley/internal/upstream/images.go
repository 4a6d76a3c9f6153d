package upstream

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// packages are what the specs call in their images, as the images' own Dockerfiles have it: dig, curl, ss and nc,
// and nginx.
var packages = []string{"bind9-dnsutils", "curl", "iproute2", "netcat-openbsd", "nginx"}

// standIn is an image that is put together in place of upstream's.
type standIn struct {
	ref    string
	files  []string // of what was built, in the image's root; the first is its program
	config v1.Config
}

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// standIns are the images that the [sig-network] conformance specs name, besides pause, which every node has. The
// names are those of Kubernetes v1.36 (test/utils/image/manifest.go); listed checks them against e2e.test.
var standIns = []standIn{
	{"registry.k8s.io/e2e-test-images/agnhost:2.63.0", []string{agnhost, certificate, key},
		v1.Config{Env: []string{searchPath}, Entrypoint: []string{"/" + agnhost}, Cmd: []string{"pause"}}},
	{"registry.k8s.io/e2e-test-images/glibc-dns-testing:2.0.0", nil,
		v1.Config{Env: []string{searchPath}, Cmd: []string{"bash"}}},
	{"registry.k8s.io/e2e-test-images/nginx:1.15-4", nil,
		v1.Config{Env: []string{searchPath}, Cmd: []string{"nginx", "-g", "daemon off;"}}},
}

// listTimeout bounds e2e.test's list of its images.
const listTimeout = time.Minute

// checkStandIns says which of the stand-ins this e2e.test does not name: their names have changed with its version.
func checkStandIns(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(dir, e2eTest), "--list-images").Output()
	if err != nil {
		return fmt.Errorf("asking %s for its images: %w", e2eTest, err)
	}
	names := strings.Fields(string(out))
	for _, s := range standIns {
		if !slices.Contains(names, s.ref) {
			return fmt.Errorf("this %s does not name the image %s: correct the names in framework/upstream/images.go", e2eTest, s.ref)
		}
	}
	return nil
}

// saveImages writes the stand-ins to one archive: the Debian layer that all share, and each one's own files.
func saveImages(dir, debian, archive string) error {
	// Packing would cost more than it saves: nothing leaves this machine.
	base, err := tarball.LayerFromFile(debian, tarball.WithCompressionLevel(gzip.NoCompression))
	if err != nil {
		return fmt.Errorf("reading the Debian layer: %w", err)
	}
	images := map[name.Tag]v1.Image{}
	for _, s := range standIns {
		tag, err := name.NewTag(s.ref)
		if err != nil {
			return fmt.Errorf("reading the image name %s: %w", s.ref, err)
		}
		layers := []v1.Layer{base}
		for _, file := range s.files {
			own, err := fileLayer(filepath.Join(dir, file))
			if err != nil {
				return fmt.Errorf("making the layer of %s: %w", file, err)
			}
			layers = append(layers, own)
		}
		img, err := mutate.AppendLayers(empty.Image, layers...)
		if err != nil {
			return fmt.Errorf("making the image %s: %w", s.ref, err)
		}
		file, err := img.ConfigFile()
		if err != nil {
			return fmt.Errorf("making the image %s: %w", s.ref, err)
		}
		file = file.DeepCopy()
		file.Architecture, file.OS, file.Config = runtime.GOARCH, "linux", s.config
		if images[tag], err = mutate.ConfigFile(img, file); err != nil {
			return fmt.Errorf("making the image %s: %w", s.ref, err)
		}
	}
	if err := tarball.MultiWriteToFile(archive, images); err != nil {
		return fmt.Errorf("writing the images of the specs: %w", err)
	}
	return nil
}

// fileLayer is a layer with one file in the root.
func fileLayer(file string) (v1.Layer, error) {
	open := func() (io.ReadCloser, error) {
		in, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		info, err := in.Stat()
		if err != nil {
			return nil, errors.Join(err, in.Close())
		}
		r, w := io.Pipe()
		go func() {
			out := tar.NewWriter(w)
			err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.Base(file), Mode: 0o755, Size: info.Size(),
				ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
			if err == nil {
				_, err = io.Copy(out, in)
			}
			_ = w.CloseWithError(errors.Join(err, out.Close(), in.Close()))
		}()
		return r, nil
	}
	return tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.NoCompression))
}
