package nodehealth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
)

// AskWithin bounds one question to a kubelet through the API server; a healthy one answers in milliseconds.
const AskWithin = 4 * time.Second

// AskKubelet asks a node's kubelet whether it is healthy, through the API server, and says what came of it in a few words.
func AskKubelet(ctx context.Context, kube kubernetes.Interface, node string) (healthy bool, said string) {
	bounded, cancel := context.WithTimeout(ctx, AskWithin)
	defer cancel()
	raw, err := kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix("healthz").DoRaw(bounded)
	what := fmt.Sprintf("GET /api/v1/nodes/%s/proxy/healthz", node)
	switch {
	case err == nil:
		return true, what + " answers " + strings.TrimSpace(string(raw))
	case errors.Is(bounded.Err(), context.DeadlineExceeded):
		return false, fmt.Sprintf("%s: no answer within %s", what, AskWithin)
	}
	return false, what + ": " + err.Error()
}
