package cluster

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/parley-k8s/parley/manifests"
)

// Runtime is a container runtime that the nodes of a cluster can have.
type Runtime struct {
	Name    string // the word of the axis
	Product string // for people
	// Reports is the runtime's name in its answer to CRI Version, which the Node's status repeats.
	Reports string
	// Socket is where the kubelet reaches it; kubeadm is told by Patches.
	Socket string
	// Units are the systemd units whose journals say why it does not run.
	Units []string
	// Patches are kubeadm patches in manifests/runtimes.
	Patches []Patch
	// Load is the command on a node that takes an image archive from its standard input, with {ref} for the image's name; nil
	// is kind's own way, which asks containerd.
	Load []string
	// Layer is what a node image needs to have the runtime; nil where every node image has it.
	Layer *RuntimeLayer
}

// Patch is a kubeadm patch for versions of Kubernetes from Since on ("1.36"); "" is every one.
type Patch struct{ File, Since string }

// RuntimeLayer is what a node image with containerd needs to have another runtime in its place. It is plain data, all of
// which counts for the image's identity.
type RuntimeLayer struct {
	Bundle   Bundle
	Programs []Program // of the bundle
	// Packages are packages of Debian's release of the base, for what the bundle lacks. Of them come the programs of Tools with
	// the libraries that the node image has not.
	Packages, Tools []string
	// Debs are packages of another release of Debian's, of which nothing but the programs is taken.
	Debs Debs
	// Files are in manifests/runtimes, templates with the fields Pause, Images and Conmon.
	Files []RuntimeFile
	// Units start with the node.
	Units []string
	// Store says how the images that kubeadm deploys lie in the node image.
	Store Store
}

// Bundle is the runtime's release archive.
type Bundle struct {
	Name string // of the product that is released
	// Prefix and Suffix are what every archive's name begins and ends with; {arch} is the architecture as Go names it.
	Prefix, Suffix string
	// Version is the release that is fetched from URL, in which {arch} and {version} are replaced. Sums are the SHA-256 sums of
	// its archives by architecture, as kubespray's and minikube's repositories have them.
	Version, URL string
	Sums         map[string]string
}

// Program is a program of a bundle.
type Program struct {
	Name string
	In   string // the folder in the archive
	At   string // the folder on the node
	Must bool   // a bundle without it is none
}

// Debs are packages of a release of Debian's, and the programs in them that are wanted, by path.
type Debs struct {
	Suite    string
	Packages []string
	Programs []string
}

// RuntimeFile is a file of manifests/runtimes and where it lies on the node.
type RuntimeFile struct{ From, At string }

// Store is the form in which a node image brings the images that kubeadm deploys.
type Store string

const (
	// ContainersStorage is a store of github.com/containers/storage that nodes read at StoreAt.
	ContainersStorage Store = "containers-storage"
	// ImageArchive is an archive at ArchiveAt, loaded when a node starts.
	ImageArchive Store = "archive"
)

// Where a node finds the images: not under /var, which kind makes a volume.
const (
	StoreAt   = "/kind/store"
	ArchiveAt = "/kind/images.tar"
)

// DefaultRuntime is what every node image has.
const DefaultRuntime = "containerd"

// Runtimes are all, the default first.
func Runtimes() []Runtime {
	return []Runtime{
		{Name: DefaultRuntime, Product: "containerd", Reports: "containerd", Socket: "unix:///run/containerd/containerd.sock", Units: []string{"containerd"}},
		crio(), docker(),
	}
}

func crio() Runtime {
	return Runtime{
		Name: "crio", Product: "CRI-O", Reports: "cri-o", Socket: "unix:///var/run/crio/crio.sock", Units: []string{"crio"},
		Patches: []Patch{{File: "crio/kubeadm.yaml"}},
		// skopeo reads an archive twice, so it can't be a pipe.
		Load: []string{"sh", "-ec", `f=$(mktemp -p /var/tmp); trap 'rm -f "$f"' EXIT; cat > "$f"; ` +
			`skopeo copy --quiet "docker-archive:$f" "containers-storage:$1"`, "load", "{ref}"},
		Layer: &RuntimeLayer{
			Bundle: Bundle{
				Name: "CRI-O", Prefix: "cri-o.{arch}.", Suffix: ".tar.gz",
				Version: "1.36.3", URL: "https://storage.googleapis.com/cri-o/artifacts/cri-o.{arch}.v{version}.tar.gz",
				Sums: map[string]string{
					"amd64": "fc2ece7cc22a505cca5e100438e4e58f7786f17b64467022e2d2019239c88349",
					"arm64": "749e5e5393a09ec93af6723410cf3554fb4b3b2fd7df2cb36a9acc427c3392cf",
				},
			},
			Programs: []Program{
				{Name: "crio", In: "bin", At: "usr/local/bin", Must: true},
				{Name: "pinns", In: "bin", At: "usr/local/bin", Must: true},
				{Name: "crictl", In: "bin", At: "usr/local/bin"},
				{Name: "conmon", In: "bin", At: "usr/libexec/crio"},
				{Name: "runc", In: "bin", At: "usr/libexec/crio"},
			},
			Packages: []string{"conmon", "skopeo"}, Tools: []string{"usr/bin/conmon", "usr/bin/skopeo"},
			Files: []RuntimeFile{
				{"crio/crio.conf", "etc/crio/crio.conf.d/10-parley.conf"},
				{"crio/storage.conf", "etc/containers/storage.conf"},
				{"crio/policy.json", "etc/containers/policy.json"},
				{"crio/registries.conf", "etc/containers/registries.conf"},
				{"crio/crio.service", "etc/systemd/system/crio.service"},
				{"crio/kubelet", "etc/default/kubelet"},
				{"crio/crictl.yaml", "etc/crictl.yaml"},
			},
			Units: []string{"crio.service"},
			Store: ContainersStorage,
		},
	}
}

func docker() Runtime {
	return Runtime{
		Name: "docker", Product: "Docker Engine with cri-dockerd", Reports: "docker", Socket: "unix:///var/run/cri-dockerd.sock",
		Units:   []string{"docker", "docker-images", "cri-docker"},
		Patches: []Patch{{File: "docker/kubeadm.yaml"}, {File: "docker/kubelet-cgroupfs.yaml"}, {File: "docker/kubelet-no-websockets.yaml", Since: "1.36"}},
		Load:    []string{"docker", "load", "--quiet"},
		Layer: &RuntimeLayer{
			Bundle: Bundle{
				Name: "cri-dockerd", Prefix: "cri-dockerd-", Suffix: ".{arch}.tgz",
				Version: "0.4.3", URL: "https://github.com/Mirantis/cri-dockerd/releases/download/v{version}/cri-dockerd-{version}.{arch}.tgz",
				Sums: map[string]string{
					"amd64": "c94c3d6de364a13375d8d7448e4c64f5cb12960fbb1cdd7ac708bece418e4dba",
					"arm64": "f1b693ca030f2809b789eacd3fc26ab5f6d85ab68ab184fa3c003572fafe3109",
				},
			},
			Programs: []Program{{Name: "cri-dockerd", In: "cri-dockerd", At: "usr/local/bin", Must: true}},
			// cri-dockerd wants version 1.42 of Docker's API: 26.1.5 has it, and bookworm's 20.10 does not. The programs need no
			// library beyond those of bookworm.
			Debs: Debs{Suite: "trixie", Packages: []string{"docker.io", "docker-cli", "containerd"}, Programs: []string{
				"usr/sbin/dockerd", "usr/bin/docker", "usr/bin/containerd", "usr/bin/containerd-shim-runc-v2",
			}},
			Files: []RuntimeFile{
				{"docker/daemon.json", "etc/docker/daemon.json"},
				{"docker/docker.service", "etc/systemd/system/docker.service"},
				{"docker/docker-images.service", "etc/systemd/system/docker-images.service"},
				{"docker/cri-docker.service", "etc/systemd/system/cri-docker.service"},
				{"docker/kubelet", "etc/default/kubelet"},
				{"docker/crictl.yaml", "etc/crictl.yaml"},
			},
			Units: []string{"docker.service", "docker-images.service", "cri-docker.service"},
			Store: ImageArchive,
		},
	}
}

// RuntimeOf is the runtime of that name; "" is the default's.
func RuntimeOf(name string) (Runtime, error) {
	var names []string
	for _, r := range Runtimes() {
		if r.Name == name || name == "" {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Runtime{}, fmt.Errorf("%q is no node runtime that Parley can make a cluster with: choose of %s", name, strings.Join(names, ", "))
}

// patches are the runtime's kubeadm patches for a version of Kubernetes; an unknown one counts as new.
func (r Runtime) patches(kubernetes string) ([]string, error) {
	var all []string
	for _, p := range r.Patches {
		if v, err := version.ParseGeneric(kubernetes); err == nil && p.Since != "" && v.LessThan(version.MustParseGeneric(p.Since)) {
			continue
		}
		text, err := manifests.Runtimes.ReadFile("runtimes/" + p.File)
		if err != nil {
			return nil, err
		}
		all = append(all, string(text))
	}
	return all, nil
}

// load is the command that loads the image; nil is kind's own way.
func (r Runtime) load(ref string) []string {
	argv := slices.Clone(r.Load)
	for i, a := range argv {
		argv[i] = strings.ReplaceAll(a, "{ref}", ref)
	}
	return argv
}

// journal are journalctl's arguments for what the kubelet and the runtime said.
func (r Runtime) journal() []string {
	args := []string{"journalctl", "--no-pager", "-n", "300", "-u", "kubelet"}
	for _, u := range r.Units {
		args = append(args, "-u", u)
	}
	return args
}

// has says whether a Node reports the runtime, in the form of its status (NAME://VERSION).
func (r Runtime) has(reported string) bool { return strings.HasPrefix(reported, r.Reports+"://") }
