package cri

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/parley-k8s/parley/framework/requirement"
)

// Endpoint is the path, on the node, of the unix socket that the node's kubelet reaches its runtime on, as the
// kubelet's own configz says (KubeletConfiguration v1beta1, containerRuntimeEndpoint). A kubelet that names
// something else is *requirement.Unsupported.
func Endpoint(ctx context.Context, env *requirement.Env, node string) (string, error) {
	raw, err := env.Configz(ctx, node)
	if err != nil {
		return "", err
	}
	return endpointIn(raw, node)
}

// Direct is an endpoint's path on the node without the link /var/run, which leads to /run on every distribution of these
// days: where a node's root is mounted in a container, an absolute link there leads into the container.
func Direct(endpoint string) string {
	if rest, ok := strings.CutPrefix(endpoint, "/var/run/"); ok {
		return "/run/" + rest
	}
	return endpoint
}

func endpointIn(configz []byte, node string) (string, error) {
	var config struct {
		Kubelet struct {
			Endpoint string `json:"containerRuntimeEndpoint"`
		} `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(configz, &config); err != nil {
		return "", fmt.Errorf("reading the kubelet's configz on %s: %w", node, err)
	}
	// The kubelet takes a bare path for a unix socket as well.
	endpoint, _ := strings.CutPrefix(config.Kubelet.Endpoint, "unix://")
	if !path.IsAbs(endpoint) {
		return "", &requirement.Unsupported{Probed: fmt.Sprintf("the kubelet on %s names the endpoint %q, which is no unix socket",
			node, config.Kubelet.Endpoint)}
	}
	return path.Clean(endpoint), nil
}
