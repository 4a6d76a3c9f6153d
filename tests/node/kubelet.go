package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// kubeletPort is where the kubelet listens for the API server:
// https://kubernetes.io/docs/reference/networking/ports-and-protocols/
const kubeletPort = 10250

// execAttempt bounds one exec. A healthy one takes a quarter of a second; the API server's own bound
// for reaching a kubelet is far longer than anybody wants to wait for a verdict.
const execAttempt = 4 * time.Second

func apiToKubeletExec() requirement.Requirement {
	return requirement.Requirement{
		ID:    "node/api-to-kubelet-exec",
		Title: "An exec through the API server runs in a pod on every node and brings back its output.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/architecture/control-plane-node-communication/#api-server-to-kubelet",
			Says: "The API server connects to the kubelet's HTTPS endpoint to fetch logs, to attach to running pods and to forward ports.",
		},
		Why: "Logs, exec, attach and port-forward all take this one connection, against the direction of all other control traffic: " +
			"a firewall or tunnel that only lets nodes call the API server breaks it.",
		Roles: []world.Role{world.Everywhere},
		Check: func(ctx context.Context, env *requirement.Env) error {
			if err := onSickNode(env, "an exec"); err != nil {
				return err
			}
			for _, end := range sickFirst(env, env.Roles(world.Everywhere)) {
				if err := untilKnown(ctx, env, end.Node, func(ctx context.Context) error { return execs(ctx, env, end) }); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "new connections to one node's kubelet dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(func(context.Context, *requirement.Env) ([]wire.Rule, error) {
					return []wire.Rule{{Hook: "input", Priority: fault.BeforeNAT, Proto: "tcp", ToPort: kubeletPort, State: "new", Do: "drop"}}, nil
				}),
			}},
			Red:   []requirement.Reason{requirement.NoAnswer},
			Alone: true, // every new exec to that node hangs meanwhile
		},
	}
}

func execs(ctx context.Context, env *requirement.Env, end *requirement.End) error {
	ctx, cancel := context.WithTimeout(ctx, execAttempt)
	defer cancel()
	fail := func(reason requirement.Reason, observed string) error {
		return &requirement.Failure{Reason: reason, To: end, Target: "exec in " + end.Pod, Protocol: "https to port 10250",
			Expected: fmt.Sprintf("an exec on node %s to bring back the agent's version", end.Node), Observed: observed,
			Again: fmt.Sprintf("kubectl exec -n %s %s -c %s -- /agent version", end.Namespace, end.Pod, end.Container)}
	}
	out, err := probe.Output(ctx, env.Players.Dialer(end, "/agent", "version"), 4096)
	if err != nil {
		return judge(ctx, err, fail)
	}
	if ctx.Err() != nil {
		return judge(ctx, ctx.Err(), fail)
	}
	if !strings.Contains(out, "parley") {
		return fail(requirement.Broken, fmt.Sprintf("%q", out))
	}
	return nil
}

func judge(ctx context.Context, err error, fail func(requirement.Reason, string) error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fail(requirement.NoAnswer, fmt.Sprintf("no answer within %s", execAttempt))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if strings.Contains(err.Error(), "i/o timeout") || strings.Contains(err.Error(), "timed out") {
		return fail(requirement.NoAnswer, err.Error())
	}
	return fail(requirement.Broken, err.Error())
}
