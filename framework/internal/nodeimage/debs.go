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

// debPrograms returns a folder with programs of packages of another Debian release than the base's, without what they
// depend on and without folders below.
func (b *builder) debPrograms(ctx context.Context, d cluster.Debs, s *step) (string, error) {
	key := entryName("debs", append(append([]string{d.Suite, runtime.GOARCH}, d.Packages...), d.Programs...)...)
	return b.entry(key, s, func() (string, error) {
		root, err := b.unpackDebs(ctx, "debs-unpacked", debSet{suite: d.Suite, packages: d.Packages}, s)
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
		return out, nil
	})
}

// debSet are packages of one Debian release.
type debSet struct {
	suite        string // the release, such as "trixie"
	packages     []string
	dependencies bool // with all that the packages depend on
}

// unpackDebs lays the files of packages in a folder of the build and returns it. Nothing is set up: no script of a package
// runs.
func (b *builder) unpackDebs(ctx context.Context, folder string, set debSet, s *step) (root string, err error) {
	if root, err = b.folder(folder); err != nil {
		return "", err
	}
	debs, err := b.downloadDebs(ctx, folder+"-apt", set, s)
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

// downloadDebs downloads packages by this host's apt, with lists of its own in a folder of the build, and checked by it. It
// returns the packages' files.
func (b *builder) downloadDebs(ctx context.Context, folder string, set debSet, s *step) ([]string, error) {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return nil, err
	}
	apt, err := b.folder(folder)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(apt, dir), 0o755); err != nil {
			return nil, fmt.Errorf("making folders for apt: %w", err)
		}
	}
	keyring := ""
	if _, err := os.Stat(debianKeyring); err == nil {
		keyring = debianKeyring
	}
	for name, text := range map[string]string{"apt.conf": aptConfig(apt), "sources.list": aptSource(mirror, set.suite, keyring)} {
		if err := os.WriteFile(filepath.Join(apt, name), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("writing apt's configuration: %w", err)
		}
	}
	download, archives := []string{"download"}, apt
	if set.dependencies {
		download, archives = []string{"install", "--download-only", "--no-install-recommends", "--yes"}, filepath.Join(apt, "cache/archives")
	}
	for _, args := range [][]string{{"update"}, append(download, set.packages...)} {
		s.detail("apt-get " + strings.Join(args, " "))
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q"}, args...)...)
		cmd.Dir, cmd.Env = apt, environ("APT_CONFIG="+filepath.Join(apt, "apt.conf"))
		if _, err := command(ctx, cmd, false, nil); err != nil {
			return nil, fmt.Errorf("getting Debian's packages %s of %s: %w", strings.Join(set.packages, ", "), set.suite, err)
		}
	}
	return filepath.Glob(filepath.Join(archives, "*.deb"))
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
