package requirement

import (
	"context"
	"fmt"
)

// Configz is the configuration that the node's kubelet runs with, as the API server's nodes/proxy brings it: a JSON object with a
// KubeletConfiguration under "kubeletconfig". The error has the answer's own words, which client-go leaves out.
func (e *Env) Configz(ctx context.Context, node string) ([]byte, error) {
	raw, err := e.Kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix("configz").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the kubelet's configz on %s: %w %.1000s", node, err, raw)
	}
	return raw, nil
}
