package node

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/cri"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// anotherRuntime is the variant in which a Node reports a runtime that nobody has.
const anotherRuntime = "another-runtime"

func criSocket() requirement.Requirement {
	return requirement.Requirement{
		ID: "node/cri-socket",
		Title: "On every node the container runtime answers CRI Version and Status on the socket that the kubelet names, under the name " +
			"that the Node reports; others cannot write to the socket.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/containers/cri/",
			Says: "Every node needs a working container runtime that the kubelet reaches by gRPC over the endpoint that " +
				"containerRuntimeEndpoint names, speaking CRI v1.",
		},
		Why:         "The kubelet starts nothing without it, and who may write to that socket is root on the node.",
		Needs:       []requirement.Feature{requirement.NodeAgent},
		PodSecurity: "privileged",
		Roles:       []world.Role{world.Node},
		Check: func(ctx context.Context, env *requirement.Env) error {
			for _, end := range asked(env, env.Roles(world.Node)) {
				if err := runtimeAnswers(ctx, env, end); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says:  "another socket in its place, in one agent's own mount namespace",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.SocketInPlaceOf(ofRuntime, 0o660)}},
			Red:   []requirement.Reason{requirement.WrongServer},
			Alone: true, // whoever asks that node's runtime meets the decoy
		},
		// That the runtime answers at all is Control's; a condition of Status that is false takes a runtime that is down for everybody.
		MoreControls: []requirement.Control{
			{
				Says:  "a socket in its place that others can write to",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.SocketInPlaceOf(ofRuntime, 0o666)}},
				Red:   []requirement.Reason{requirement.Leaked},
				Alone: true,
			},
			{
				Says:    "the name of a runtime that nobody has in place of the one that the Node reports",
				Variant: &requirement.Variant{Fixture: anotherRuntime},
				Red:     []requirement.Reason{requirement.WrongServer},
			},
		},
	}
}

// ofRuntime is where the runtime's socket lies on the node.
func ofRuntime(ctx context.Context, env *requirement.Env, end *requirement.End) (string, error) {
	endpoint, err := cri.Endpoint(ctx, env, end.Node)
	return cri.Direct(endpoint), err
}

func runtimeAnswers(ctx context.Context, env *requirement.Env, end *requirement.End) error {
	endpoint, err := cri.Endpoint(ctx, env, end.Node)
	if err != nil {
		return err
	}
	node, err := env.Kube.CoreV1().Nodes().Get(ctx, end.Node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading Node %s: %w", end.Node, err)
	}
	reported := node.Status.NodeInfo.ContainerRuntimeVersion
	if env.Fixture(anotherRuntime) {
		reported = "nobodys://1.0.0"
	}
	fail := func(reason requirement.Reason, expected, observed string) error {
		return &requirement.Failure{Reason: reason, From: end, Target: endpoint, Protocol: "CRI", Expected: expected, Observed: observed,
			Again: "crictl --runtime-endpoint unix://" + endpoint + " version   (on node " + end.Node + ")"}
	}
	seen, err := end.File(ctx, wire.File{Do: "stat", Path: path.Join(world.HostPath, cri.Direct(endpoint))})
	if err != nil {
		return fmt.Errorf("looking at %s on %s: %w", endpoint, end.Node, err)
	}
	if !seen.Ok() {
		return fail(requirement.NotShared, "a socket at the kubelet's endpoint", seen.Errno.String())
	}
	if seen.Mode&0o002 != 0 {
		return fail(requirement.Leaked, "a socket that others cannot write to", fmt.Sprintf("mode %04o", seen.Mode&0o777))
	}

	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client, err := cri.Connect(ctx, env, end)
	if err != nil {
		return err
	}
	defer client.Close()
	version, err := client.Version(ctx, &runtime.VersionRequest{})
	if err != nil {
		return fail(requirement.WrongServer, "an answer to CRI Version", err.Error())
	}
	if name, _, _ := strings.Cut(reported, "://"); version.RuntimeName != name {
		return fail(requirement.WrongServer, fmt.Sprintf("the runtime that the Node reports (%s)", reported), version.RuntimeName+" "+version.RuntimeVersion)
	}
	status, err := client.Status(ctx, &runtime.StatusRequest{})
	if err != nil {
		return fail(requirement.WrongServer, "an answer to CRI Status", err.Error())
	}
	for _, condition := range status.GetStatus().GetConditions() {
		switch {
		case condition.GetStatus():
		case condition.GetType() == runtime.RuntimeReady || condition.GetType() == runtime.NetworkReady:
			return fail(requirement.WrongServer, "the condition "+condition.GetType()+" to be true", condition.GetReason()+": "+condition.GetMessage())
		default: // a runtime's own, such as containerd's deprecation warnings
			env.Note("%s: %s is false: %s", end.Node, condition.GetType(), condition.GetMessage())
		}
	}
	env.Note("%s: %s %s, CRI %s", end.Node, version.RuntimeName, version.RuntimeVersion, version.RuntimeApiVersion)
	return nil
}
