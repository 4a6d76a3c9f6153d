package nodeimage

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
)

// inputs are the files that the image is made from besides what modules and packages bring.
//
//go:embed modules files pause/main.go
var inputs embed.FS

// recipe is the code that makes the image: it counts as an input, so that no change of it can be forgotten.
//
//go:embed base.go build.go components.go images.go inputs.go layers.go node.go proxybase.go store.go
var recipe embed.FS

// Repository is the name of all node images built offline; the tag is the hash of the inputs.
const Repository = "localhost/parley/node"

// suite is the Debian release of the base: its systemd (252) is the last that still boots on cgroup v1.
const suite = "bookworm"

// packages of the base besides debootstrap's minbase: init, what the Kubernetes components and the runtime call,
// and what the run itself uses on nodes (nft, ip, ping, socat).
var packages = []string{
	"systemd", "systemd-sysv", "dbus", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux",
	"mount", "kmod", "libseccomp2", "pigz", "e2fsprogs", "bash", "ca-certificates", "curl", "jq", "procps", "runc",
	"crun", "socat", "iputils-ping", "ipset",
}

// component is one Go module whose main packages go into the image.
type component struct {
	name string // of its files in modules/
	path string // the module that is required, whose version counts
	// stamp says which variables the linker sets, with {version}, {major} and {minor} in the values.
	stamp []string
	tags  string            // build tags
	as    map[string]string // names of binaries to change
}

var components = []component{
	{
		name: "kubernetes", path: "k8s.io/kubernetes",
		// Without them kubeadm asks the network for a version.
		stamp: append(kubernetesStamp("k8s.io/component-base/version"), kubernetesStamp("k8s.io/client-go/pkg/version")...),
	},
	{
		name: "containerd", path: "github.com/containerd/containerd/v2",
		stamp: []string{"github.com/containerd/containerd/v2/version.Version={version}"},
		tags:  "no_aufs,no_btrfs,no_devmapper,no_zfs", // snapshotters that need other file systems, as kind does
	},
	{name: "cni", path: "github.com/containernetworking/plugins"},
	{name: "etcd", path: "go.etcd.io/etcd/server/v3", as: map[string]string{"server": "etcd"}},
	{name: "coredns", path: "github.com/coredns/coredns"},
}

// module is what a component's go.mod says.
type module struct {
	version string   // of the required module
	tools   []string // the main packages
	mod     []byte
	sum     []byte
}

func readModule(name, required string) (module, error) {
	mod, err := inputs.ReadFile("modules/" + name + ".mod")
	if err != nil {
		return module{}, fmt.Errorf("reading the module file of %s: %w", name, err)
	}
	sum, err := inputs.ReadFile("modules/" + name + ".sum")
	if err != nil {
		return module{}, fmt.Errorf("reading the module sums of %s: %w", name, err)
	}
	return parseModule(name, required, mod, sum)
}

func parseModule(name, required string, mod, sum []byte) (module, error) {
	f, err := modfile.Parse(name+".mod", mod, nil)
	if err != nil {
		return module{}, fmt.Errorf("reading the module file of %s: %w", name, err)
	}
	m := module{mod: mod, sum: sum}
	for _, r := range f.Require {
		if r.Mod.Path == required {
			m.version = r.Mod.Version
		}
	}
	if m.version == "" {
		return module{}, fmt.Errorf("the module file of %s does not require %s", name, required)
	}
	for _, t := range f.Tool {
		m.tools = append(m.tools, t.Path)
	}
	return m, nil
}

// write lays the module's files in a folder, where the go command finds them.
func (m module) write(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), m.mod, 0o644); err != nil {
		return fmt.Errorf("writing a module file: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), m.sum, 0o644); err != nil {
		return fmt.Errorf("writing a module's sums: %w", err)
	}
	return nil
}

func kubernetesStamp(pkg string) []string {
	return []string{pkg + ".gitVersion={version}", pkg + ".gitMajor={major}", pkg + ".gitMinor={minor}", pkg + ".gitTreeState=archive"}
}

// ldflags are the linker's flags for a component's version.
func (c component) ldflags(version string) string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	flags := []string{"-s", "-w"}
	for _, s := range c.stamp {
		flags = append(flags, "-X", strings.NewReplacer("{version}", version, "{major}", major, "{minor}", minor).Replace(s))
	}
	return strings.Join(flags, " ")
}

// goVersionTimeout bounds the question which Go is there.
const goVersionTimeout = 30 * time.Second

// goVersion is the version of the go command that builds; the error says what to install.
func goVersion() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), goVersionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("the offline node image is built with Go, which does not answer: install Go 1.26 or later: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Hash is the hash of all that goes into the image: the module files, the other files, this package's own code with
// its lists of packages and files, the architecture and the Go version. It is the image's tag.
func Hash() (string, error) {
	gover, err := goVersion()
	if err != nil {
		return "", err
	}
	return hashOf([]string{runtime.GOARCH, gover}, inputs, recipe)
}

// hashOf hashes each fact and each file with its name; lengths keep two lists apart that read the same joined.
func hashOf(facts []string, trees ...fs.FS) (string, error) {
	h := sha256.New()
	for _, f := range facts {
		fmt.Fprintf(h, "%d %s\n", len(f), f)
	}
	for _, tree := range trees {
		err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := fs.ReadFile(tree, name)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "%s %d\n", path.Clean(name), len(b))
			h.Write(b)
			return nil
		})
		if err != nil {
			return "", fmt.Errorf("hashing the node image's inputs: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:hashLength], nil
}

// hashLength is how many hexadecimal digits of a hash make a name.
const hashLength = 16
