package cri

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// staticPodUID is the annotation of a static pod's mirror that has the UID its kubelet gave it.
const staticPodUID = "kubernetes.io/config.hash"

// UID is the UID by which the pod's kubelet knows it: that of its sandboxes and cgroups.
func UID(pod *corev1.Pod) string {
	if static := pod.Annotations[staticPodUID]; static != "" {
		return static
	}
	return string(pod.UID)
}

// InCgroupOf says whether a cgroup's path is of the pod with that UID: the systemd driver writes the UID's hyphens as underscores.
func InCgroupOf(cgroup, uid string) bool {
	return strings.Contains(cgroup, "pod"+uid) || strings.Contains(cgroup, "pod"+strings.ReplaceAll(uid, "-", "_"))
}
