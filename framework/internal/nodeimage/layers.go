package nodeimage

import (
	"archive/tar"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// fileLayer is an image layer that lies in a file, as a plain archive: packing it would cost each node the time to
// unpack it, and saves nothing on one machine.
type fileLayer struct {
	path string
	hash v1.Hash
	size int64
}

func (l fileLayer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l fileLayer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l fileLayer) Size() (int64, error)                 { return l.size, nil }
func (l fileLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l fileLayer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.path) }
func (l fileLayer) MediaType() (types.MediaType, error)  { return types.DockerUncompressedLayer, nil }

// layer writes a layer's archive to a file.
type layer struct {
	*tar.Writer
	path string
	file *os.File
	dirs map[string]bool
}

func newLayer(file string) (*layer, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	return &layer{Writer: tar.NewWriter(f), path: file, file: f, dirs: map[string]bool{".": true}}, nil
}

// done closes the archive and reads it once for its hash.
func (l *layer) done() (v1.Layer, error) {
	if err := errors.Join(l.Close(), l.file.Close()); err != nil {
		return nil, fmt.Errorf("writing a layer: %w", err)
	}
	return layerOf(l.path)
}

// layerOf is the layer whose archive lies in a file.
func layerOf(file string) (v1.Layer, error) {
	sum, size, err := fileSum(file)
	if err != nil {
		return nil, fmt.Errorf("reading a layer: %w", err)
	}
	return fileLayer{path: file, size: size, hash: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum)}}, nil
}

// header is a root-owned entry; no entry's time counts.
func header(kind byte, name string, mode int64) *tar.Header {
	return &tar.Header{Typeflag: kind, Name: name, Mode: mode, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
}

// parents adds the folders above a name that are not there yet.
func (l *layer) parents(name string) error {
	dir := path.Dir(name)
	if l.dirs[dir] {
		return nil
	}
	if err := l.parents(dir); err != nil {
		return err
	}
	return l.folder(dir, 0o755)
}

func (l *layer) folder(name string, mode int64) error {
	if l.dirs[name] {
		return nil
	}
	l.dirs[name] = true
	return l.WriteHeader(header(tar.TypeDir, name+"/", mode))
}

// text adds a file with the given content.
func (l *layer) text(name string, mode int64, content []byte) error {
	if err := l.parents(name); err != nil {
		return err
	}
	h := header(tar.TypeReg, name, mode)
	h.Size = int64(len(content))
	if err := l.WriteHeader(h); err != nil {
		return err
	}
	_, err := l.Write(content)
	return err
}

// copy adds a file from disk.
func (l *layer) copy(name string, mode int64, from string) error {
	if err := l.parents(name); err != nil {
		return err
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := header(tar.TypeReg, name, mode)
	h.Size = info.Size()
	if err := l.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(l, f)
	return err
}

// link adds a symbolic link.
func (l *layer) link(name, target string) error {
	if err := l.parents(name); err != nil {
		return err
	}
	h := header(tar.TypeSymlink, name, 0o777)
	h.Linkname = target
	return l.WriteHeader(h)
}

// tree adds a folder from disk under another name, with the modes that mode says.
func (l *layer) tree(under, from string, mode func(rel string, d fs.DirEntry) int64) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		name := path.Join(under, filepath.ToSlash(rel))
		switch {
		case name == ".":
			return nil
		case d.IsDir():
			if err := l.parents(name); err != nil {
				return err
			}
			return l.folder(name, mode(rel, d))
		case d.Type().IsRegular():
			return l.copy(name, mode(rel, d), p)
		}
		return fmt.Errorf("%s is neither a file nor a folder", p)
	})
}

// copyArchive copies an archive without the entries for whose names drop is true.
func copyArchive(from io.Reader, to *tar.Writer, drop func(name string) bool) error {
	r := tar.NewReader(from)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if drop(strings.TrimPrefix(path.Clean(h.Name), "/")) {
			continue
		}
		if err := to.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(to, r); err != nil {
			return err
		}
	}
}
