package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// The base's files in the cache: the whole system, and what of it the kube-proxy image takes.
const (
	rootfsName = "rootfs.tar"
	proxyName  = "iptables.tar"
)

// excluded are the patterns of files of the base that are not packed: what the engine or the node's boot makes, and what
// nobody reads on a node.
var excluded = []string{
	"./dev/*", "./proc/*", "./sys/*", "./run/*", "./tmp/*", "./var/tmp/*", "./var/log/*", "./var/cache/apt/*",
	"./var/cache/debconf/*", "./var/lib/apt/lists/*", "./etc/hostname", "./etc/resolv.conf",
	"./etc/machine-id", "./var/lib/dbus/machine-id", // each node makes its own, and dbus' would be taken for it
	"./usr/share/doc/*",
	"./usr/share/doc-base/*", "./usr/share/info/*", "./usr/share/lintian/*", "./usr/share/locale/*", "./usr/share/man/*",
	"./debootstrap",
}

// base makes the Debian root file system, or takes it from the cache, and returns the folder with its two archives.
func (b *builder) base(ctx context.Context, s *step) (string, error) {
	key := entryName("base", append([]string{suite, runtime.GOARCH, fmt.Sprint(excluded, proxyFiles, proxyFolders, proxyLinks)}, packages...)...)
	return b.entry(key, s, func() (string, error) {
		root, err := b.debian(ctx, s, "rootfs", packages)
		if err != nil {
			return "", err
		}
		out, err := b.folder("base")
		if err != nil {
			return "", err
		}
		if err := packDebian(ctx, root, filepath.Join(out, rootfsName)); err != nil {
			return "", err
		}
		return out, packProxy(root, filepath.Join(out, proxyName))
	})
}

// debian makes a Debian root file system with the packages in a folder of the build, and returns the folder.
func (b *builder) debian(ctx context.Context, s *step, folder string, packages []string) (root string, err error) {
	if err := installDebootstrap(ctx, s); err != nil {
		return "", err
	}
	mirror, err := debianMirror(ctx)
	if err != nil {
		return "", err
	}
	if root, err = b.folder(folder); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+strings.Join(packages, ","), suite, root, mirror)
	cmd.Env = environ("DEBIAN_FRONTEND=noninteractive", "TMPDIR="+b.dir)
	output := &tailWriter{line: s.detail}
	cmd.Stdout = output
	// Debian's packages mount and may start things while they are set up: all of it ends with the program.
	if _, err := command(ctx, cmd, true, nil); err != nil {
		return "", fmt.Errorf("making the Debian base: %w: %s", err, output.tail())
	}
	return root, nil
}

// packDebian writes a root file system to an archive, without the excluded files.
func packDebian(ctx context.Context, root, file string) error {
	args := []string{"--create", "--file=" + file, "--numeric-owner", "--xattrs", "--xattrs-include=*", "--sort=name", "--directory=" + root}
	for _, p := range excluded {
		args = append(args, "--exclude="+p)
	}
	if _, err := command(ctx, exec.CommandContext(ctx, "tar", append(args, ".")...), false, nil); err != nil {
		return fmt.Errorf("packing the Debian base: %w", err)
	}
	return nil
}

// installDebootstrap installs the program where it is missing and may be installed.
func installDebootstrap(ctx context.Context, s *step) error {
	if _, err := exec.LookPath("debootstrap"); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("the offline node image needs debootstrap, and there is no apt-get to install it with: install debootstrap, or pull kindest/node once")
	}
	s.detail("installing the Debian package debootstrap")
	for _, args := range [][]string{{"update"}, {"install", "--no-install-recommends", "debootstrap"}} {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-y", "-o", "DPkg::Lock::Timeout=300"}, args...)...)
		cmd.Env = environ("DEBIAN_FRONTEND=noninteractive")
		if _, err := command(ctx, cmd, false, nil); err != nil {
			return fmt.Errorf("the offline node image needs debootstrap, and installing it failed: %w", err)
		}
	}
	return nil
}

// mirrorTimeout bounds the question which mirror apt uses.
const mirrorTimeout = 30 * time.Second

// debianMirror is the archive that this host's apt uses for Debian itself.
func debianMirror(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, mirrorTimeout)
	defer cancel()
	out, err := command(ctx, exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"), false, nil)
	if err != nil {
		return "", fmt.Errorf("asking apt which Debian mirror this host uses: %w", err)
	}
	mirror := pickMirror(out)
	if mirror == "" {
		return "", errors.New("the offline node image needs a Debian mirror, and this host's apt names none: add one to its sources, or pull kindest/node once")
	}
	return mirror, nil
}

// pickMirror finds the archive among lines of site, release and component: the first whose release is one itself,
// not its updates, its security fixes or its backports.
func pickMirror(targets string) string {
	for line := range strings.Lines(targets) {
		f := strings.Fields(line)
		if len(f) == 3 && f[2] == "main" && !strings.ContainsAny(f[1], "-/") && !strings.Contains(f[0], "security") {
			return f[0]
		}
	}
	return ""
}

// canBuild says in one sentence why this host can't build the image; nil where it can.
func canBuild() error {
	switch {
	case runtime.GOOS != "linux":
		return errors.New("the node image is built offline on Linux only: give this machine a registry, or pull kindest/node once")
	case os.Geteuid() != 0:
		return errors.New("building the node image offline needs root, for debootstrap: run as root, or pull kindest/node once")
	}
	return nil
}
