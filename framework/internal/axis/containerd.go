package axis

import (
	"slices"

	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// Containerd is the axis of the versions of containerd that a node image can be built with.
func Containerd() Axis {
	return Axis{
		Name: "containerd version", Flag: "containerd", Set: "containerds", Chooses: "version of containerd of a cluster that is made",
		Values: versions("containerd", nodeimage.ContainerdVersions(), containerdConflicts),
		Apply:  func(s *Spec, version string) { s.Versions.Containerd = version },
		Doctor: DoctorLine{Key: "containerdVersions", Label: "containerd", InImage: containerdInImage},
	}
}

// containerdConflicts says why a version of containerd can't be had with the cluster's other values; "" where it can.
func containerdConflicts(s Spec) string {
	if r := s.otherRuntime(); r != "" {
		return "it is a version of containerd, and the nodes' runtime would be " + r
	}
	return s.Versions.Unsupported()
}

// containerdInImage is the image's version, which no cluster uses where another runtime takes containerd's place in all.
func containerdInImage(image nodeimage.Versions, clusters []Spec) string {
	usesIt := func(s Spec) bool { return s.otherRuntime() == "" }
	if len(clusters) > 0 && !slices.ContainsFunc(clusters, usesIt) {
		return ""
	}
	return image.Containerd
}
