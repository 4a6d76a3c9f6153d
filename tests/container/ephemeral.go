package container

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

func ephemeral() requirement.Requirement {
	const separate = "separate pod"
	return requirement.Requirement{
		ID:   "container/ephemeral",
		Long: true,
		Title: "An ephemeral container of a running pod is in its network and IPC namespaces, has its hostname, reaches its " +
			"containers on localhost and is reached by them, and restarts none.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/",
			Says: "A special kind of container that runs temporarily in an existing pod, to inspect it; it is added by the ephemeralcontainers handler.",
		},
		Why:     "kubectl debug rests on it: what a debugger sees of the network and IPC has to be what the program sees.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA, world.Near},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return checkEphemeral(ctx, env, env.Fixture(separate))
		},
		Control: requirement.Control{Says: "a " + separate, Variant: &requirement.Variant{Fixture: separate},
			Red: []requirement.Reason{requirement.NotShared}},
	}
}

func checkEphemeral(ctx context.Context, env *requirement.Env, separate bool) error {
	started, err := env.Start(ctx, env.NewPod(nodeOfSiblings(env), world.Container("a")))
	if err != nil {
		return err
	}
	a := started.Ends["a"]
	before, err := boots(ctx, a)
	if err != nil {
		return err
	}
	joined := env.Role(world.Near)
	if !separate {
		if joined, err = debugger(ctx, env, started.Pod); err != nil {
			return err
		}
		defer func() {
			if joined.Close() != nil {
				return // its stream ends with the pod
			}
		}()
	}
	for _, kind := range []string{"net", "ipc"} {
		if err := sameNamespace(ctx, kind, a, joined); err != nil {
			return err
		}
	}
	if err := sameHostname(ctx, env, a, joined); err != nil {
		return err
	}
	for i, way := range []struct{ from, to *requirement.End }{{a, joined}, {joined, a}} {
		if _, err := exchange.Works(ctx, env, exchange.Talk{From: way.from, To: way.to, Network: "tcp",
			Bind: requirement.At(env.Loopback(), env.Port(i))}); err != nil {
			return err
		}
	}
	return sameBoots(ctx, before, a)
}

// sameHostname judges the name and not its UTS namespace, which Kubernetes does not promise: Docker Engine's containers have one each.
func sameHostname(ctx context.Context, env *requirement.Env, a, b *requirement.End) error {
	ofA, err := a.Identity(ctx)
	if err != nil {
		return fmt.Errorf("reading the hostname of %s: %w", a, err)
	}
	ofB, err := b.Identity(ctx)
	if err != nil {
		return fmt.Errorf("reading the hostname of %s: %w", b, err)
	}
	if ofA.Hostname != ofB.Hostname {
		return &requirement.Failure{Reason: requirement.NotShared, From: a, To: b, Target: "hostname", Protocol: "uts",
			Expected: "the hostname " + ofA.Hostname + " in both", Observed: ofB.Hostname, Again: "hostname in both containers"}
	}
	if x, y := ofA.Namespaces["uts"], ofB.Namespaces["uts"]; x != y {
		env.Note("one hostname in two UTS namespaces (inodes %d and %d): what one container sets by sethostname(2) the other does not see", x, y)
	}
	return nil
}

// debugger adds an agent to the pod.
func debugger(ctx context.Context, env *requirement.Env, pod *corev1.Pod) (*requirement.End, error) {
	c := world.Container("debugger")
	twin := pod.DeepCopy()
	twin.Spec.EphemeralContainers = append(twin.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: c.Name, Image: pod.Spec.Containers[0].Image, Command: c.Command, Args: c.Args, Env: pod.Spec.Containers[0].Env,
		ImagePullPolicy: c.ImagePullPolicy, SecurityContext: c.SecurityContext}})
	_, err := env.Kube.CoreV1().Pods(pod.Namespace).UpdateEphemeralContainers(ctx, pod.Name, twin, metav1.UpdateOptions{})
	if apierrors.IsForbidden(err) {
		return nil, &requirement.Unsupported{Probed: "the cluster refuses ephemeral containers: " + err.Error()}
	} else if err != nil {
		return nil, fmt.Errorf("adding a container to the pod %s: %w", pod.Name, err)
	}
	now, err := become(ctx, env, pod, func(now *corev1.Pod) error {
		if s := statusOf(now, c.Name); s.State.Running == nil {
			return kubeletFailure(requirement.NoEffect, nil, now, "ephemeral container", "it to run", stateWords(s))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return env.Players.Join(now, c.Name)
}
