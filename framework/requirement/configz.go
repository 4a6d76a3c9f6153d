package requirement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// configzWithin bounds one question to a kubelet for its configuration: a healthy one answers in milliseconds, and the API server's own
// bounds are far longer than anybody wants to wait.
const configzWithin = 8 * time.Second

// Configz is the configuration of the node's kubelet, as JSON, asked for through the API server. A node that is known to answer no exec
// is not asked: the API server reaches its kubelet by no other way. The error has the answer's own words, which client-go leaves out.
func (e *Env) Configz(ctx context.Context, node string) ([]byte, error) {
	if e.AnswersNoExec(node) {
		return nil, fmt.Errorf("reading the kubelet's configz on %s: its kubelet is not reached through the API server", node)
	}
	bounded, cancel := context.WithTimeout(ctx, configzWithin)
	defer cancel()
	raw, err := e.Kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix("configz").DoRaw(bounded)
	if err != nil && ctx.Err() == nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", configzWithin)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the kubelet's configz on %s: %w %.1000s", node, err, raw)
	}
	return raw, nil
}

// AnswersNoExec says whether the node is known to answer no exec.
func (e *Env) AnswersNoExec(node string) bool {
	return slices.ContainsFunc(e.SickNodes(NodeAnswersNoExec), func(f NodeFinding) bool { return f.Node == node })
}
