package axis

import "github.com/parley-k8s/parley/framework/internal/nodeimage"

// Kubernetes is the axis of the versions of Kubernetes that a node image can be built with.
func Kubernetes() Axis {
	return Axis{
		Name: "Kubernetes version", Flag: "kubernetes", Set: "versions", Chooses: "version of Kubernetes of a cluster that is made",
		Values: versions("kubernetes", nodeimage.KubernetesVersions(), nil),
		Apply:  func(s *Spec, version string) { s.Versions.Kubernetes = version },
		Doctor: DoctorLine{Key: "kubernetesVersions", Label: "Kubernetes",
			InImage: func(image nodeimage.Versions, _ []Spec) string { return image.Kubernetes }},
	}
}

// versions are the values of an axis of versions of a program, whose word has the program's name before each. conflicts is that
// of each; it may be nil.
func versions(of string, all []string, conflicts func(Spec) string) (values []Value) {
	for _, version := range all {
		values = append(values, Value{Word: of + "-" + version, Short: version, Conflicts: conflicts})
	}
	return values
}
