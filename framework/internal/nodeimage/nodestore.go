package nodeimage

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"go.etcd.io/bbolt"
)

// Where containerd keeps what an image store is made of, below its root.
const (
	metadataPart = "/io.containerd.metadata.v1.bolt/meta.db"
	blobsPart    = "/io.containerd.content.v1.content/blobs/sha256/"
)

// nodeFiles is what is known of a node image that another runtime goes on: which files it has, and the images in its
// containerd's store, which lies unpacked in a folder.
type nodeFiles struct {
	names map[string]bool // usr-merged, without the leading slash; folders too
	root  string          // of containerd, by path in the image; "" where it has no store
	dir   string          // with meta.db and blobs/
	// layers are the image's, as plain archives.
	layers []v1.Layer
}

// readNode reads a node image's layers, the lowest first.
func readNode(img v1.Image, dir string) (*nodeFiles, error) {
	n := &nodeFiles{names: map[string]bool{}, dir: dir}
	if err := os.MkdirAll(filepath.Join(dir, "blobs"), 0o755); err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("reading the node image's layers: %w", err)
	}
	for _, l := range layers {
		plain := &plainLayer{Layer: l}
		r, err := l.Uncompressed()
		if err == nil {
			err = errors.Join(n.read(io.TeeReader(r, plain)), plain.rest(r), r.Close())
		}
		if err != nil {
			return nil, fmt.Errorf("reading a layer of the node image: %w", err)
		}
		n.layers = append(n.layers, plain)
	}
	return n, nil
}

// plainLayer is a layer that is handed on as a plain archive: an engine saves it so, and packing it anew would take minutes.
type plainLayer struct {
	v1.Layer
	size int64
}

// Write counts what was read of the layer.
func (l *plainLayer) Write(b []byte) (int, error) {
	l.size += int64(len(b))
	return len(b), nil
}

// rest counts what lies behind the archive's end.
func (l *plainLayer) rest(r io.Reader) error {
	_, err := io.Copy(l, r)
	return err
}

func (l *plainLayer) Digest() (v1.Hash, error)            { return l.DiffID() }
func (l *plainLayer) Size() (int64, error)                { return l.size, nil }
func (l *plainLayer) Compressed() (io.ReadCloser, error)  { return l.Uncompressed() }
func (l *plainLayer) MediaType() (types.MediaType, error) { return types.DockerUncompressedLayer, nil }

// Names with which a layer takes files of the layers below away (the OCI image specification's whiteouts).
const whiteout, opaque = ".wh.", ".wh..wh..opq"

// read reads one layer's archive.
func (n *nodeFiles) read(archive io.Reader) error {
	r := tar.NewReader(archive)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at := merged(path.Clean("/" + h.Name))
		folder, base := path.Split(at)
		switch {
		case base == opaque:
			n.removeBelow(folder)
			continue
		case strings.HasPrefix(base, whiteout):
			gone := folder + strings.TrimPrefix(base, whiteout)
			delete(n.names, gone)
			n.removeBelow(gone + "/")
			continue
		case at != "":
			n.names[at] = true
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		to := ""
		if root, ok := strings.CutSuffix(at, metadataPart); ok {
			n.root, to = root, "meta.db"
		} else if _, sum, ok := strings.Cut(at, blobsPart); ok && !strings.Contains(sum, "/") {
			to = filepath.Join("blobs", sum)
		}
		if to != "" {
			if err := replace(filepath.Join(n.dir, to), r); err != nil {
				return err
			}
		}
	}
}

// removeBelow takes away all below a folder, whose name ends with a slash.
func (n *nodeFiles) removeBelow(folder string) {
	maps.DeleteFunc(n.names, func(name string, _ bool) bool { return strings.HasPrefix(name, folder) })
}

func replace(at string, from io.Reader) error {
	f, err := os.Create(at)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// hasLibrary says whether the node has a shared library of that name.
func (n *nodeFiles) hasLibrary(file string) bool {
	for name := range n.names {
		if path.Base(name) == file && strings.HasPrefix(name, "usr/lib") {
			return true
		}
	}
	return false
}

// firstPresent is the first of the paths that the node has; "" for none.
func (n *nodeFiles) firstPresent(paths ...string) string {
	if i := slices.IndexFunc(paths, func(p string) bool { return n.names[p] }); i >= 0 {
		return paths[i]
	}
	return ""
}

// openStoreTimeout bounds the wait for the lock of a database that nobody else has.
const openStoreTimeout = 5 * time.Second

// images are the images that the node's containerd has for Kubernetes, by name.
func (n *nodeFiles) images() (map[name.Tag]v1.Image, error) {
	if n.root == "" {
		return nil, errors.New("the node image has no store of containerd's, whose images the other runtime should get")
	}
	db, err := bbolt.Open(filepath.Join(n.dir, "meta.db"), 0o600, &bbolt.Options{Timeout: openStoreTimeout})
	if err != nil {
		return nil, fmt.Errorf("opening containerd's metadata of the node image: %w", err)
	}
	defer db.Close()
	targets := map[string]string{}
	err = db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("v1"))
		for _, part := range []string{"k8s.io", "images"} {
			if bucket != nil {
				bucket = bucket.Bucket([]byte(part))
			}
		}
		if bucket == nil {
			return errors.New("it has no images of the namespace k8s.io")
		}
		return bucket.ForEachBucket(func(ref []byte) error {
			if target := bucket.Bucket(ref).Bucket([]byte("target")); target != nil {
				targets[string(ref)] = string(target.Get([]byte("digest")))
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading containerd's metadata of the node image: %w", err)
	}
	images := map[name.Tag]v1.Image{}
	for ref, digest := range targets {
		tag, err := name.NewTag(ref)
		if err != nil || strings.Contains(ref, "@") || strings.HasPrefix(ref, "sha256:") {
			continue // the same image under its digest
		}
		if images[tag], err = n.image(digest); err != nil {
			return nil, fmt.Errorf("reading the image %s of the node image: %w", ref, err)
		}
	}
	if len(images) == 0 {
		return nil, errors.New("the node image's containerd has no image with a name")
	}
	return images, nil
}

// image is the stored image of a digest; of an index it is the one for this architecture.
func (n *nodeFiles) image(digest string) (v1.Image, error) {
	raw, err := n.blob(digest)
	if err != nil {
		return nil, err
	}
	var doc struct {
		MediaType types.MediaType `json:"mediaType"`
		Manifests []v1.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	if len(doc.Manifests) == 0 {
		return partial.CompressedToImage(&storedImage{node: n, raw: raw, mediaType: doc.MediaType})
	}
	for _, m := range doc.Manifests {
		ours := m.Platform == nil || m.Platform.OS == "linux" && m.Platform.Architecture == runtime.GOARCH
		if _, err := os.Stat(n.blobFile(m.Digest.String())); ours && err == nil {
			return n.image(m.Digest.String())
		}
	}
	return nil, fmt.Errorf("it is not there for linux/%s", runtime.GOARCH)
}

func (n *nodeFiles) blobFile(digest string) string {
	return filepath.Join(n.dir, "blobs", filepath.Base(strings.TrimPrefix(digest, "sha256:")))
}

func (n *nodeFiles) blob(digest string) ([]byte, error) { return os.ReadFile(n.blobFile(digest)) }

// storedImage is an image in containerd's store.
type storedImage struct {
	node      *nodeFiles
	raw       []byte
	mediaType types.MediaType
}

func (i *storedImage) RawManifest() ([]byte, error) { return i.raw, nil }

func (i *storedImage) MediaType() (types.MediaType, error) {
	if i.mediaType == "" {
		return types.OCIManifestSchema1, nil // which may leave it out
	}
	return i.mediaType, nil
}

func (i *storedImage) RawConfigFile() ([]byte, error) {
	m, err := partial.Manifest(i)
	if err != nil {
		return nil, err
	}
	return i.node.blob(m.Config.Digest.String())
}

func (i *storedImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	m, err := partial.Manifest(i)
	if err != nil {
		return nil, err
	}
	for _, l := range m.Layers {
		if l.Digest == h {
			return &storedLayer{node: i.node, desc: l}, nil
		}
	}
	return nil, fmt.Errorf("the image has no layer %s", h)
}

// storedLayer is a layer of a storedImage.
type storedLayer struct {
	node *nodeFiles
	desc v1.Descriptor
}

func (l *storedLayer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l *storedLayer) Size() (int64, error)                { return l.desc.Size, nil }
func (l *storedLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l *storedLayer) Compressed() (io.ReadCloser, error) {
	return os.Open(l.node.blobFile(l.desc.Digest.String()))
}
