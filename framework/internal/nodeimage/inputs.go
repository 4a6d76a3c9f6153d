package nodeimage

import (
	"cmp"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/parley-k8s/parley/framework/internal/cluster"
)

// inputs are the files that images are made from besides what modules and packages bring. Which of them go into an image
// depends on its versions: see ingredients.
//
//go:embed modules files pause/main.go
var inputs embed.FS

// recipe is the code that makes every image: it counts as an input, so that no change of it can be forgotten.
//
//go:embed base.go build.go components.go images.go inputs.go layers.go node.go proxybase.go store.go
var recipe embed.FS

// debsRecipe is the code for images with programs of another Debian release's packages, with containerd's runtime or another.
//
//go:embed debs.go
var debsRecipe embed.FS

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

// component is one Go module whose main packages go into the image, or what Debian's packages have in its place.
type component struct {
	name   string
	module string // the name of its files in modules/; "" is the component's own
	path   string // the module that is required, whose version counts
	// packaged is what brings the component's programs where no module does.
	packaged *packaged
	// stamp says which variables the linker sets, with {version}, {major} and {minor} in the values.
	stamp   []string
	tags    string            // build tags
	renames map[string]string // of binaries: new names by those that go build gives them
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
	{name: "etcd", path: "go.etcd.io/etcd/server/v3", renames: map[string]string{"server": "etcd"}},
	{name: "coredns", path: "github.com/coredns/coredns"},
}

// packaged are a component's programs in Debian's packages.
type packaged struct {
	cluster.Debs
	version string // the minor version that they have
}

// debianContainerd is the containerd 1.x that Debian trixie has. It runs on the base too: it needs glibc 2.34 and no other
// library, and the base's runc.
var debianContainerd = component{name: "containerd", packaged: &packaged{
	Debs: cluster.Debs{
		Suite: "trixie", Packages: []string{"containerd"},
		Programs: []string{"usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/bin/ctr"},
	},
	version: "1.7",
}}

// title is the component's name and version, for people.
func (c component) title() (string, error) {
	version, err := c.version()
	return c.name + " " + version, err
}

// version is that of the component's module, or what is known of a packaged one's before it is there.
func (c component) version() (string, error) {
	if c.packaged != nil {
		return c.packaged.version + " of Debian " + c.packaged.Suite, nil
	}
	m, err := c.read()
	return m.version, err
}

// read reads the component's module files.
func (c component) read() (module, error) { return readModule(cmp.Or(c.module, c.name), c.path) }

// componentNamed returns the component of that name.
func componentNamed(all []component, name string) (component, error) {
	i := slices.IndexFunc(all, func(c component) bool { return c.name == name })
	if i < 0 {
		return component{}, fmt.Errorf("a node image has no component %s", name)
	}
	return all[i], nil
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
