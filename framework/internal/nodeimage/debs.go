package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/parley-k8s/parley/framework/internal/cluster"
)

// debianKeyring has the keys of Debian's releases, as the package debian-archive-keyring lays them.
const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// debPrograms are programs of packages of another Debian release than the base's, without what they depend on, flat in a folder.
func (b *builder) debPrograms(ctx context.Context, d cluster.Debs, s *step) (string, error) {
	key := entryName("debs", append(append([]string{d.Suite, runtime.GOARCH}, d.Packages...), d.Programs...)...)
	if dir, ok := b.cache.get(key); ok {
		s.cached()
		return dir, nil
	}
	root, err := b.unpackDebs(ctx, "debs-unpacked", d.Suite, false, d.Packages, s)
	if err != nil {
		return "", err
	}
	out, err := b.folder("debs")
	if err != nil {
		return "", err
	}
	for _, p := range d.Programs {
		if err := os.Rename(filepath.Join(root, p), filepath.Join(out, path.Base(p))); err != nil {
			return "", fmt.Errorf("the packages %s of %s have no %s: %w", strings.Join(d.Packages, ", "), d.Suite, p, err)
		}
	}
	return b.cache.put(key, out)
}

// unpackDebs lays the files of packages of a Debian release, alone or with all that they depend on, in a folder of the build and
// returns it. Nothing is set up: no script of a package runs. They are downloaded by this host's apt, with lists of its
// own, and checked by it.
func (b *builder) unpackDebs(ctx context.Context, folder, suite string, dependencies bool, packages []string, s *step) (root string, err error) {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return "", err
	}
	if root, err = b.folder(folder); err != nil {
		return "", err
	}
	apt, err := b.folder(folder + "-apt")
	if err != nil {
		return "", err
	}
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(apt, dir), 0o755); err != nil {
			return "", fmt.Errorf("making folders for apt: %w", err)
		}
	}
	keyring := ""
	if _, err := os.Stat(debianKeyring); err == nil {
		keyring = debianKeyring
	}
	for name, text := range map[string]string{"apt.conf": aptConfig(apt), "sources.list": aptSource(mirror, suite, keyring)} {
		if err := os.WriteFile(filepath.Join(apt, name), []byte(text), 0o644); err != nil {
			return "", fmt.Errorf("writing apt's configuration: %w", err)
		}
	}
	get, at := []string{"download"}, apt
	if dependencies {
		get, at = []string{"install", "--download-only", "--no-install-recommends", "--yes"}, filepath.Join(apt, "cache/archives")
	}
	for _, args := range [][]string{{"update"}, append(get, packages...)} {
		s.detail("apt-get " + strings.Join(args, " "))
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q"}, args...)...)
		cmd.Dir, cmd.Env = apt, environ("APT_CONFIG="+filepath.Join(apt, "apt.conf"))
		if _, err := command(ctx, cmd, false, nil); err != nil {
			return "", fmt.Errorf("getting Debian's packages %s of %s: %w", strings.Join(packages, ", "), suite, err)
		}
	}
	debs, err := filepath.Glob(filepath.Join(at, "*.deb"))
	if err != nil {
		return "", err
	}
	// Packages still have files in /lib and /bin, which are links on a usr-merged system and must stay so.
	for name, target := range mergedFolders {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, target), 0o755), os.Symlink(target, filepath.Join(root, name))); err != nil {
			return "", fmt.Errorf("making folders for Debian's packages: %w", err)
		}
	}
	const unpack = `dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory="$2"`
	for _, deb := range debs {
		if _, err := command(ctx, exec.CommandContext(ctx, "sh", "-ec", unpack, "unpack", deb, root), false, nil); err != nil {
			return "", fmt.Errorf("unpacking %s: %w", filepath.Base(deb), err)
		}
	}
	return root, nil
}

// aptConfig keeps apt to a folder: nothing of the host's lists, sources and packages is read or changed.
func aptConfig(dir string) string {
	return fmt.Sprintf(`Dir::State::Lists %q;
Dir::State::status "/dev/null";
Dir::Cache %q;
Dir::Etc::SourceList %q;
Dir::Etc::SourceParts "-";
APT::Sandbox::User "root";
`, path.Join(dir, "lists"), path.Join(dir, "cache"), path.Join(dir, "sources.list"))
}

// aptSource is a line of apt's sources; without a keyring the host's trusted keys count.
func aptSource(mirror, suite, keyring string) string {
	options := ""
	if keyring != "" {
		options = "[signed-by=" + keyring + "] "
	}
	return fmt.Sprintf("deb %s%s %s main\n", options, mirror, suite)
}
