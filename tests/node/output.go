package node

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// outputAttempt bounds one look at a container's output. A healthy one takes a few hundred milliseconds; the API
// server's own bounds are far longer than anybody wants to wait for a verdict.
const outputAttempt = 4 * time.Second

// logsHeld is how long the kubelet is held: one look at its logs, and a little more.
const logsHeld = outputAttempt + time.Second

var apiServerToKubelet = requirement.Clause{
	URL:  "https://kubernetes.io/docs/concepts/architecture/control-plane-node-communication/#api-server-to-kubelet",
	Says: "The API server connects to the kubelet's HTTPS endpoint to fetch logs, to attach to running pods and to forward ports.",
}

func apiToKubeletLogs() requirement.Requirement {
	return requirement.Requirement{
		ID:     "node/api-to-kubelet-logs",
		Title:  "A pod's log on every node is read through the API server: what its container writes arrives while the log is followed.",
		Level:  requirement.Must,
		Clause: apiServerToKubelet,
		Why: "Logs are what everybody looks at first, and they are fetched against the direction of all other control traffic. Where " +
			"only this half is broken, pods run well and nobody can see why one of them does not.",
		Roles: []world.Role{world.Everywhere},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return outputArrives(ctx, env, "logs -f", func(ctx context.Context, end *requirement.End) (io.ReadCloser, error) {
				now := int64(0)
				return env.Kube.CoreV1().Pods(end.Namespace).GetLogs(end.Pod, &corev1.PodLogOptions{
					Container: end.Container, Follow: true, TailLines: &now}).Stream(ctx)
			})
		},
		Control: requirement.Control{
			// Not the port: the API server keeps one HTTP/2 connection to each kubelet for logs, so dropping new
			// connections touches none, and dropping all of them cuts off the agent that has to lift the fault.
			Says:  "one kubelet held by SIGSTOP",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.SuspendKubelet(logsHeld)}},
			Red:   []requirement.Reason{requirement.NoAnswer},
			Alone: true,
		},
	}
}

func apiToKubeletAttach() requirement.Requirement {
	return requirement.Requirement{
		ID:     "node/api-to-kubelet-attach",
		Title:  "An attach through the API server to a container on every node brings what its main process writes.",
		Level:  requirement.Must,
		Clause: apiServerToKubelet,
		Why: "Attach takes the exec's way to the kubelet and then another one in the runtime: it joins the streams of a process " +
			"that runs already. kubectl run -i and kubectl debug rest on it.",
		Roles: []world.Role{world.Everywhere},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return outputArrives(ctx, env, "attach", func(ctx context.Context, end *requirement.End) (io.ReadCloser, error) {
				return probe.Attach(env.Config, end.Namespace, end.Pod, end.Container).Dial(ctx)
			})
		},
		Control: requirement.Control{
			Says: "new connections to one node's kubelet dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnOneNode(func(context.Context, *requirement.Env) ([]wire.Rule, error) {
					return []wire.Rule{{Hook: "input", Priority: fault.BeforeNAT, Proto: "tcp", ToPort: kubeletPort, State: "new", Do: "drop"}}, nil
				}),
			}},
			Red:   []requirement.Reason{requirement.NoAnswer},
			Alone: true,
		},
	}
}

// outputArrives opens the output of a container on every node and has that container say something.
func outputArrives(ctx context.Context, env *requirement.Env, verb string,
	open func(context.Context, *requirement.End) (io.ReadCloser, error)) error {
	if err := onSickNode(env, verb); err != nil {
		return err
	}
	for _, end := range sickFirst(env, env.Roles(world.Everywhere)) {
		if err := untilKnown(ctx, env, end.Node, func(ctx context.Context) error { return saysAndIsHeard(ctx, end, verb, open) }); err != nil {
			return err
		}
	}
	return nil
}

func saysAndIsHeard(ctx context.Context, end *requirement.End, verb string,
	open func(context.Context, *requirement.End) (io.ReadCloser, error)) error {
	ctx, cancel := context.WithTimeout(ctx, outputAttempt)
	defer cancel()
	words := "said-" + rand.String(12)
	fail := func(reason requirement.Reason, observed string) error {
		return &requirement.Failure{Reason: reason, To: end, Target: verb + " " + end.Pod, Protocol: "https to the kubelet's port 10250",
			Expected: "what the container on node " + end.Node + " writes to arrive", Observed: observed,
			Again: fmt.Sprintf("kubectl %s -n %s %s -c %s", verb, end.Namespace, end.Pod, end.Container)}
	}
	stream, err := open(ctx, end)
	if err != nil {
		return judge(ctx, err, fail)
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	defer stop()
	defer func() { _ = stream.Close() }() // its end is of no interest

	heard, quiet := make(chan error, 1), make(chan struct{})
	go func() { heard <- listenFor(stream, words) }()
	go func() {
		defer close(quiet)
		repeat(ctx, end, words)
	}()
	err = <-heard
	cancelled := ctx.Err() != nil
	cancel()
	<-quiet
	if err != nil && cancelled {
		return fail(requirement.NoAnswer, fmt.Sprintf("nothing of it within %s", outputAttempt))
	}
	if err != nil {
		return fail(requirement.Broken, err.Error())
	}
	return nil
}

// repeat has the container say its words until ctx ends: an attach begins to read at some time that nobody tells.
func repeat(ctx context.Context, end *requirement.End, words string) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if said, err := end.Log(ctx, words); err != nil || !said.Ok() {
			return // the stream stays silent, which is judged
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func listenFor(r io.Reader, words string) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == words {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return fmt.Errorf("the stream ended without it")
}
