package cri

import runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

// Labels that kubelets give to the sandboxes of pods (k8s.io/kubelet/pkg/types).
const (
	PodNameLabel      = "io.kubernetes.pod.name"
	PodNamespaceLabel = "io.kubernetes.pod.namespace"
	PodUIDLabel       = "io.kubernetes.pod.uid"
)

// OfKubelet says whether a kubelet made the sandbox. Others make sandboxes through the same socket, as crictl and test tools do.
func OfKubelet(sandbox *runtime.PodSandbox) bool { return sandbox.GetLabels()[PodUIDLabel] != "" }
