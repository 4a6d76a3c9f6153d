package nodeimage

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// proxyFiles are what kube-proxy calls, by path in the Debian base: both kinds of iptables, nft, ipset, conntrack,
// and the shell and ln that choose between the two kinds. Their libraries come with them.
var proxyFiles = []string{
	"usr/sbin/xtables-nft-multi", "usr/sbin/xtables-legacy-multi", "usr/sbin/nft", "usr/sbin/ipset",
	"usr/sbin/conntrack", "usr/bin/dash", "usr/bin/ln",
}

// proxyFolders are taken whole: iptables' extensions, by glob.
var proxyFolders = []string{"usr/lib/*/xtables"}

// mergedFolders are the links of a usr-merged system, as the base is.
var mergedFolders = map[string]string{"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}

// proxyLinks are names that point to what is there.
var proxyLinks = withMerged(map[string]string{"usr/bin/sh": "dash"})

func withMerged(links map[string]string) map[string]string {
	all := maps.Clone(mergedFolders)
	maps.Copy(all, links)
	return all
}

// packProxy writes the layer that kube-proxy runs on: the programs above and the libraries they need.
func packProxy(root, file string) error {
	l, err := newLayer(file)
	if err != nil {
		return err
	}
	if err := l.proxy(root); err != nil {
		_ = l.file.Close()
		return fmt.Errorf("collecting what kube-proxy calls: %w", err)
	}
	_, err = l.done()
	return err
}

func (l *layer) proxy(root string) error {
	names := append([]string(nil), proxyFiles...)
	for _, pattern := range proxyFolders {
		found, err := filepath.Glob(filepath.Join(root, pattern, "*.so"))
		if err != nil {
			return err
		}
		for _, f := range found {
			rel, err := filepath.Rel(root, f)
			if err != nil {
				return err
			}
			names = append(names, rel)
		}
	}
	all, err := closure(os.DirFS(root), names)
	if err != nil {
		return err
	}
	for _, name := range all {
		if err := l.entry(root, name); err != nil {
			return err
		}
	}
	for name, target := range proxyLinks {
		if err := l.link(name, target); err != nil {
			return err
		}
	}
	return nil
}

// entry adds a file or a symbolic link as it is in a root.
func (l *layer) entry(root, name string) error {
	from := filepath.Join(root, name)
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return l.link(name, target)
	}
	return l.copy(name, int64(info.Mode().Perm()), from)
}

// closure lists the given files and, in order, whatever they need: the interpreter, the libraries and theirs,
// and where a name is a symbolic link, what it points to. Files that are not ELF need nothing.
func closure(root fs.FS, names []string) ([]string, error) {
	folders, err := libraryFolders(root)
	if err != nil {
		return nil, err
	}
	var all []string
	seen := map[string]bool{}
	for queue := names; len(queue) > 0; queue = queue[1:] {
		name := merged(queue[0])
		if seen[name] {
			continue
		}
		seen[name] = true
		all = append(all, name)
		info, err := fs.Lstat(root, name)
		if err != nil {
			return nil, err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := fs.ReadLink(root, name)
			if err != nil {
				return nil, err
			}
			if !path.IsAbs(target) {
				target = path.Join(path.Dir(name), target)
			}
			queue = append(queue, target)
			continue
		}
		needs, err := needed(root, name)
		if err != nil {
			return nil, err
		}
		for _, n := range needs {
			if strings.Contains(n, "/") {
				queue = append(queue, n)
				continue
			}
			found := findLibrary(root, folders, n)
			if found == "" {
				return nil, fmt.Errorf("%s needs %s, which is not in the base", name, n)
			}
			queue = append(queue, found)
		}
	}
	return all, nil
}

// libraryFolders are the folders that the dynamic linker looks in: the architecture's own, and the common one.
func libraryFolders(root fs.FS) ([]string, error) {
	arch, err := fs.Glob(root, "usr/lib/*-linux-gnu*")
	return append(arch, "usr/lib", "usr/lib64"), err
}

func findLibrary(root fs.FS, folders []string, name string) string {
	for _, f := range folders {
		if _, err := fs.Lstat(root, path.Join(f, name)); err == nil {
			return path.Join(f, name)
		}
	}
	return ""
}

// needed reads an ELF file's interpreter and libraries; none for any other file.
func needed(root fs.FS, name string) ([]string, error) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	f, err := elf.NewFile(strings.NewReader(string(b)))
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	needs, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("reading which libraries %s needs: %w", name, err)
	}
	if s := f.Section(".interp"); s != nil {
		b, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("reading which interpreter %s needs: %w", name, err)
		}
		needs = append(needs, strings.TrimRight(string(b), "\x00"))
	}
	return needs, nil
}

// merged is a path in a usr-merged system without its leading slash: /lib64/x is usr/lib64/x.
func merged(name string) string {
	name = strings.TrimPrefix(path.Clean(name), "/")
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "bin", "sbin", "lib", "lib32", "lib64", "libx32":
		return "usr/" + name
	}
	return name
}
