package container

import (
	"context"
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// nearOnly are the roles of a check that makes its own pods on the siblings' node.
var nearOnly = []world.Role{world.SiblingA}

// Variants of the pod with sidecars.
const (
	plain        = "plain containers in their place"
	podIPAlone   = "a sidecar that listens on the pod's IP and not on localhost"
	withSibling  = "a sibling that ends when the sidecar does"
	endsTogether = "a sidecar that ends when the main container is told to"
)

func sidecar() requirement.Requirement {
	return requirement.Requirement{
		ID:   "container/sidecar",
		Long: true,
		Title: "A native sidecar is reachable on localhost, and has passed its startup probe, before what comes after it starts; it is restarted " +
			"alone, and ends after the main container.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/",
			Says: "An init container with restartPolicy Always starts before the containers after it, which wait for its startup probe, runs as " +
				"long as the pod does, and is ended only after the main containers have stopped.",
		},
		Why: "A proxy has to be there for the first connection and still for the last one. With plain containers the main one starts before the " +
			"proxy listens and loses it while it shuts down.",
		PerNode: true,
		Roles:   nearOnly,
		Check:   checkSidecar,
		Control: inOne(plain, requirement.NoEffect),
		MoreControls: []requirement.Control{
			inOne(podIPAlone, requirement.Refused),
			inOne(withSibling, requirement.NoEffect),
			inOne(endsTogether, requirement.NoEffect),
		},
	}
}

// Files by which the check holds the pod's containers.
const (
	goFile   = "/run/parley/go" // for a probe, in the container itself
	holdFile = "hold"           // for a preStop hook, on the shared volume
	// releaseFile has the hook end that waits at holdFile.
	releaseFile = world.SharedPath + "/" + holdFile + ".go"
)

func execProbeOf(args ...string) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: append([]string{"/agent"}, args...)}},
		PeriodSeconds: 1, FailureThreshold: 100, TimeoutSeconds: probeTimeout}
}

// sidecarPod has the sidecar, a second one whose agent is the only program between it and the main container, and
// the main container.
func sidecarPod(env *requirement.Env) *corev1.Pod {
	pod := env.NewPod(nodeOfSiblings(env), world.Container("sidecar"), world.Container("second"), world.Container("main"))
	shareEmptyDir(pod)
	grace := int64(15)
	pod.Spec.TerminationGracePeriodSeconds = &grace
	c := pod.Spec.Containers
	c[0].StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt(env.Port(0))}},
		PeriodSeconds: 1, FailureThreshold: 100, TimeoutSeconds: probeTimeout}
	c[1].StartupProbe = execProbeOf("exists", goFile)
	c[2].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{
		Command: []string{"/agent", "hold", path.Join(world.SharedPath, holdFile)}}}}
	if !env.Fixture(plain) {
		always := corev1.ContainerRestartPolicyAlways
		c[0].RestartPolicy, c[1].RestartPolicy = &always, &always
		pod.Spec.InitContainers, pod.Spec.Containers = c[:2:2], c[2:]
	}
	return pod
}

func checkSidecar(ctx context.Context, env *requirement.Env) error {
	started, err := env.StartUntil(ctx, sidecarPod(env), running("sidecar"))
	if err != nil {
		return err
	}
	s := sidecars{env: env, pod: started.Pod, side: started.Ends["sidecar"], second: started.Ends["second"], main: started.Ends["main"]}
	for _, phase := range []struct {
		judge func(context.Context) error
		there *requirement.End // throughout
	}{{s.startInOrder, s.side}, {s.restartAlone, s.side}, {s.endLast, s.main}} {
		if err := phase.judge(ctx); err != nil {
			// The pod is removed now, which its hook is not to hold up.
			cleanUp(ctx, func(ctx context.Context) error {
				return fileSteps(ctx, phase.there, wire.File{Do: "write", Path: releaseFile})
			})
			return err
		}
	}
	return nil
}

// sidecars is the pod of sidecarPod.
type sidecars struct {
	env                *requirement.Env
	pod                *corev1.Pod
	side, second, main *requirement.End
}

// startInOrder has each startup probe succeed in turn: what comes after the sidecar waits for it, and then reaches it.
func (s sidecars) startInOrder(ctx context.Context) error {
	if err := s.waits(ctx, "second", "the sidecar's startup probe"); err != nil {
		return err
	}
	if err := s.listens(ctx); err != nil {
		return err
	}
	if err := s.runs(ctx, "second"); err != nil {
		return err
	}
	if err := s.waits(ctx, "main", "the second sidecar's startup probe"); err != nil {
		return err
	}
	if err := s.isReached(ctx, s.second); err != nil {
		return err
	}
	if err := fileSteps(ctx, s.second, wire.File{Do: "write", Path: goFile}); err != nil {
		return err
	}
	if err := s.runs(ctx, "main"); err != nil {
		return err
	}
	return s.isReached(ctx, s.main)
}

// restartAlone ends the sidecar's process: it is restarted, and neither of the others is.
func (s sidecars) restartAlone(ctx context.Context) error {
	before, err := boots(ctx, s.second, s.main)
	if err != nil {
		return err
	}
	if err := restart(ctx, s.env, s.side); err != nil {
		return s.notBack(ctx, err)
	}
	if s.env.Fixture(withSibling) {
		if err := restart(ctx, s.env, s.main); err != nil {
			return err
		}
	}
	if err := s.listens(ctx); err != nil {
		return err
	}
	if err := s.isReached(ctx, s.main); err != nil {
		return err
	}
	return sameBoots(ctx, before, s.second, s.main)
}

func (s sidecars) fail(end *requirement.End, expected, observed string) error {
	return kubeletFailure(requirement.NoEffect, end, s.pod, "sidecar", expected, observed)
}

// notBack is the verdict on a sidecar that did not come back: a failure where its kubelet, too, says that it does not run, or else why
// that can't be told.
func (s sidecars) notBack(ctx context.Context, why error) error {
	pod, err := s.env.Kube.CoreV1().Pods(s.pod.Namespace).Get(ctx, s.pod.Name, metav1.GetOptions{})
	if err != nil {
		return why
	}
	if is := statusOf(pod, "sidecar"); is.State.Running == nil {
		return s.fail(s.side, "the sidecar to be started again after it ended", stateWords(is))
	}
	return why
}

// waits says whether the container has not started yet, and the pod is not initialized.
func (s sidecars) waits(ctx context.Context, container, what string) error {
	pod, err := s.env.Kube.CoreV1().Pods(s.pod.Namespace).Get(ctx, s.pod.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the pod %s: %w", s.pod.Name, err)
	}
	initialized := corev1.ConditionUnknown
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodInitialized {
			initialized = c.Status
		}
	}
	if is := statusOf(pod, container); is.State.Running != nil || is.State.Terminated != nil || initialized != corev1.ConditionFalse {
		return s.fail(s.side, fmt.Sprintf("the container %s to wait for %s", container, what),
			fmt.Sprintf("it %s, and the pod's condition Initialized %s", stateWords(is), initialized))
	}
	return nil
}

// runs waits until the container runs.
func (s sidecars) runs(ctx context.Context, container string) error {
	_, err := become(ctx, s.env, s.pod, func(pod *corev1.Pod) error {
		if is := statusOf(pod, container); is.State.Running == nil {
			return s.fail(nil, "the container "+container+" to start then", stateWords(is))
		}
		return nil
	})
	return err
}

// isReached says whether the sidecar answers the other container on localhost.
func (s sidecars) isReached(ctx context.Context, from *requirement.End) error {
	_, err := exchange.Works(ctx, s.env, exchange.Talk{From: from, To: s.side, Network: "tcp", Dial: requirement.At(s.env.Loopback(), s.env.Port(0))})
	return err
}

// listens opens the server that the sidecar's startup probe dials.
func (s sidecars) listens(ctx context.Context) error {
	at := fmt.Sprintf(":%d", s.env.Port(0))
	if s.env.Fixture(podIPAlone) {
		ip, err := s.env.IP(s.side)
		if err != nil {
			return err
		}
		at = requirement.At(ip, s.env.Port(0))
	}
	return listens(ctx, s.side, at)
}

// endLast deletes the pod, holds the main container in its preStop hook, and looks whether the sidecar is still there. What the hook is
// told and tells goes through the main container, which is there as long as that is.
func (s sidecars) endLast(ctx context.Context) error {
	env, pod, side := s.env, s.pod, s.side
	if err := env.Kube.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting the pod %s: %w", pod.Name, err)
	}
	if err := appears(ctx, env, s.main, pod, path.Join(world.SharedPath, holdFile+".begun")); err != nil {
		return err
	}
	if env.Fixture(endsTogether) {
		if err := ends(ctx, side); err != nil {
			return err
		}
	}
	// The main container has been told to end and has not ended.
	if err := answersOn(ctx, env, s.main, env.Port(0)); err != nil {
		if f := requirement.AsFailure(err); f != nil {
			err = s.fail(side, "the sidecar to run on while the main container does", "its server, from the main container: "+f.Observed)
		}
		return err
	}
	if err := fileSteps(ctx, s.main, wire.File{Do: "write", Path: releaseFile}); err != nil {
		return err
	}
	var ended *corev1.Pod
	_, err := become(ctx, env, pod, func(now *corev1.Pod) error {
		if statusOf(now, "main").State.Terminated != nil && statusOf(now, "sidecar").State.Terminated != nil {
			ended = now
			return nil
		}
		return kubeletFailure(requirement.NoEffect, side, pod, "sidecar", "both containers to end", "the main one "+stateWords(statusOf(now, "main"))+
			", the sidecar "+stateWords(statusOf(now, "sidecar")))
	})
	switch {
	case apierrors.IsNotFound(err):
		env.Note("the pod was gone before its last status was seen: that the sidecar outlived the hook of the main container was seen from inside")
		return nil
	case err != nil:
		return err
	}
	last, first := statusOf(ended, "sidecar").State.Terminated.FinishedAt, statusOf(ended, "main").State.Terminated.FinishedAt
	if last.Before(&first) {
		return kubeletFailure(requirement.NoEffect, side, pod, "sidecar", "the sidecar to end after the main container",
			fmt.Sprintf("it ended at %s, the main one at %s", last, first))
	}
	return nil
}
