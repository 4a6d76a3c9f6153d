package nodeimage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Versions are the minor versions that an offline image has, such as "1.36" and "2.4". One that is "" is left open.
type Versions struct {
	Kubernetes string
	Containerd string
}

// The versions that an image can be built with. The first is the default, the rest are the newest first.
var (
	kubernetesVersions = []string{"1.36", "1.37", "1.35", "1.34"}
	containerdVersions = []string{"2.4", "2.1", "1.7"}
)

// KubernetesVersions are the minor versions of Kubernetes that an image can be built with, the default first.
func KubernetesVersions() []string { return slices.Clone(kubernetesVersions) }

// ContainerdVersions are those of containerd.
func ContainerdVersions() []string { return slices.Clone(containerdVersions) }

// limit says up to which Kubernetes a containerd goes.
type limit struct {
	containerd string
	kubernetes string // the newest that supports it
	why, link  string // who says so, and where
}

// limits are of the versions of containerd that not every Kubernetes supports. containerd's table names the least patch
// version of each of its lines and the newest line without an end: 2.4 fulfils all its rows. Of 1.7 it recommends 1.7.28 and
// later for 1.34 and 1.35, while Debian trixie has 1.7.24 with fixes of its own: it is the line that counts here.
var limits = []limit{
	{
		containerd: "2.1", kubernetes: "1.35",
		why:  "containerd's own table names 2.2 or later for Kubernetes 1.36, and 2.3 or later for 1.37",
		link: "https://github.com/containerd/containerd/blob/v2.4.2/RELEASES.md#kubernetes-support",
	},
	{
		containerd: "1.7", kubernetes: "1.35",
		why:  "Kubernetes 1.35 is the last that supports containerd 1.x",
		link: "https://kubernetes.io/blog/2025/12/17/kubernetes-v1-35-release/#final-call-for-containerd-v1x",
	},
}

// unsupported says of the containerd why it does not go with the Kubernetes; "" where it does.
func (v Versions) unsupported() string {
	for _, l := range limits {
		if l.containerd == v.Containerd && compareMinor(v.Kubernetes, l.kubernetes) > 0 {
			return fmt.Sprintf("it does not go with Kubernetes %s: %s (%s); ask for Kubernetes %s or older with it", v.Kubernetes, l.why, l.link, l.kubernetes)
		}
	}
	return ""
}

// Unsupported says of the containerd why it does not go with the Kubernetes; "" where it does, or where one is left open.
func (v Versions) Unsupported() string {
	if v.Kubernetes == "" || v.Containerd == "" {
		return ""
	}
	return v.unsupported()
}

// Resolve closes what is open: each version is the default, and the Kubernetes for a containerd that the default does not
// support the newest that does. It refuses versions that there are none of, and two that don't go together.
func (v Versions) Resolve() (Versions, error) {
	for _, of := range []struct {
		name, asked string
		all         []string
	}{{"Kubernetes", v.Kubernetes, kubernetesVersions}, {"containerd", v.Containerd, containerdVersions}} {
		if of.asked != "" && !slices.Contains(of.all, of.asked) {
			return Versions{}, fmt.Errorf("no node image can be built with %s %s: choose one of %s", of.name, of.asked, strings.Join(of.all, ", "))
		}
	}
	v.Containerd = cmp.Or(v.Containerd, containerdVersions[0])
	if v.Kubernetes == "" {
		newest := slices.SortedFunc(slices.Values(kubernetesVersions[1:]), func(a, b string) int { return compareMinor(b, a) })
		for _, k := range append(kubernetesVersions[:1:1], newest...) {
			if v.Kubernetes = k; v.unsupported() == "" {
				break
			}
		}
	}
	if why := v.unsupported(); why != "" {
		return Versions{}, fmt.Errorf("containerd %s: %s", v.Containerd, why)
	}
	return v, nil
}

// reason says what the versions were chosen by: asked is what the user asked for, and v what became of it.
func (v Versions) reason(asked Versions) string {
	if asked.Kubernetes == "" && v.Kubernetes != kubernetesVersions[0] {
		return fmt.Sprintf("for containerd %s; Kubernetes %s is the newest that supports it", v.Containerd, v.Kubernetes)
	}
	return "for " + asked.String()
}

// String names what is not left open, for people.
func (v Versions) String() string {
	var parts []string
	if v.Kubernetes != "" {
		parts = append(parts, "Kubernetes "+v.Kubernetes)
	}
	if v.Containerd != "" {
		parts = append(parts, "containerd "+v.Containerd)
	}
	return strings.Join(parts, " and ")
}

// components are those of an image with these versions, which are resolved.
func (v Versions) components() []component {
	all := slices.Clone(components)
	for i, c := range all {
		switch {
		case c.name == "kubernetes" && v.Kubernetes != kubernetesVersions[0]:
			all[i].module = c.name + "-" + v.Kubernetes
		case c.name == "containerd" && v.Containerd == debianContainerd.packaged.version:
			all[i] = debianContainerd
		case c.name == "containerd" && v.Containerd != containerdVersions[0]:
			all[i].module = c.name + "-" + v.Containerd
		}
	}
	return all
}

// kubernetes is the version of Kubernetes to the patch, such as v1.36.3.
func (v Versions) kubernetes() (string, error) { return v.versionOf("kubernetes") }

// versionOf is the version of a component to the patch, or what is known of it before the image is there.
func (v Versions) versionOf(component string) (string, error) {
	c, err := componentNamed(v.components(), component)
	if err != nil {
		return "", err
	}
	return c.version()
}

// compareMinor compares two versions such as 1.9 and 1.36 by their numbers.
func compareMinor(a, b string) int {
	var major, minor [2]int
	for i, s := range []string{a, b} {
		if _, err := fmt.Sscanf(s, "%d.%d", &major[i], &minor[i]); err != nil {
			return strings.Compare(a, b)
		}
	}
	return cmp.Or(cmp.Compare(major[0], major[1]), cmp.Compare(minor[0], minor[1]))
}
