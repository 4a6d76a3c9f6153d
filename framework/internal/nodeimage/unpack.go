package nodeimage

import (
	"archive/tar"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/framework/internal/cluster"
)

// programMax bounds one program of a bundle, in bytes: the largest has 90 MB.
const programMax = 1 << 30

// unpackBundle takes a bundle's programs into a folder, flat, and returns the names of those that it has.
func unpackBundle(file string, programs []cluster.Program, dir string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading a runtime's bundle: %w", err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s is no archive packed with gzip: %w", file, err)
	}
	names, err := unpack(unzipped, programs, dir)
	if err != nil {
		return nil, fmt.Errorf("taking the programs from %s: %w", file, err)
	}
	return names, nil
}

// unpack reads an archive. A program is the file of its name in the folder of the name that it is expected in, whatever is
// above that folder, or at the archive's top: a bundle also has completions and configurations of the same names.
func unpack(archive io.Reader, programs []cluster.Program, dir string) ([]string, error) {
	var found []string
	r := tar.NewReader(archive)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(programs, func(p cluster.Program) bool { return isProgram(p, h.Name) })
		if i < 0 || h.Typeflag != tar.TypeReg {
			continue
		}
		name := programs[i].Name
		if slices.Contains(found, name) {
			return nil, fmt.Errorf("it has %s twice", name)
		}
		if h.Size > programMax {
			return nil, fmt.Errorf("its %s has %d bytes", name, h.Size)
		}
		if err := writeFile(filepath.Join(dir, name), r); err != nil {
			return nil, err
		}
		found = append(found, name)
	}
	for _, p := range programs {
		if p.Must && !slices.Contains(found, p.Name) {
			return nil, fmt.Errorf("it has no %s", path.Join(p.In, p.Name))
		}
	}
	slices.Sort(found)
	return found, nil
}

func isProgram(p cluster.Program, name string) bool {
	folder, file := path.Split(path.Clean("/" + name))
	return file == p.Name && (folder == "/" || path.Base(folder) == p.In)
}

func writeFile(at string, from io.Reader) error {
	f, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// machines are the ELF machines by architecture as Go names it.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// runsOn says why a program can't run on a node of the architecture that has these files, by their last names; nil where
// nothing is known to forbid it. It would only be seen when the node's unit fails.
func runsOn(program, arch string, has func(name string) bool) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("%s is no program: %w", filepath.Base(program), err)
	}
	defer f.Close()
	if want, known := machines[arch]; known && f.Machine != want {
		return fmt.Errorf("%s is for %s and the nodes are %s", filepath.Base(program), f.Machine, arch)
	}
	needs, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("reading which libraries %s needs: %w", filepath.Base(program), err)
	}
	needs = slices.DeleteFunc(needs, has)
	if len(needs) > 0 {
		return fmt.Errorf("%s needs %s, which the node image has not: link it statically", filepath.Base(program), strings.Join(needs, ", "))
	}
	return nil
}
