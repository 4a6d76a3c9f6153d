package container

import (
	"context"
	"fmt"
	"path"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

var containerHooks = requirement.Clause{
	URL: "https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/",
	Says: "PostStart runs right after a container is made, PreStop before it is told to end, which waits for the hook; a hook that fails kills " +
		"the container.",
}

// Variants of pods with hooks: the first is of both rows.
const (
	wrongCommand  = "a wrong command"
	inSibling     = "the same hook in the sibling, too"
	neverFails    = "a hook that succeeds in place of the one that fails"
	doneAtOnce    = "a hook that is done at once in place of the one that is waited for"
	notEnded      = "nothing that ends the container whose hook fails"
	hookRedWithin = 5 * time.Second
)

func hookControl() requirement.Control { return inOne(wrongCommand, requirement.NoEffect) }

func execHook(env *requirement.Env, args ...string) *corev1.LifecycleHandler {
	if env.Fixture(wrongCommand) {
		args = []string{"no-such-command"}
	}
	return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: append([]string{"/agent"}, args...)}}
}

// refusedHook is an HTTP hook to a port of the pod where nobody listens.
func refusedHook(env *requirement.Env) *corev1.LifecycleHandler {
	return &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/hook", Port: intstr.FromInt(env.Port(0))}}
}

func hookPostStart() requirement.Requirement {
	return requirement.Requirement{
		ID:   "container/hook-post-start",
		Long: true,
		Title: "A postStart hook runs in the container that names it and in no other; a container whose hook fails is killed, and its siblings " +
			"run on.",
		Level:   requirement.Must,
		Clause:  containerHooks,
		Why:     "Registering, warming up and setting permissions is done there. A container whose hook failed is not set up, so it may not run.",
		PerNode: true,
		Roles:   nearOnly,
		Check:   checkPostStart, Control: hookControl(), // by which the first container is killed: that siblings run on is judged by the same look
		MoreControls: []requirement.Control{inOne(inSibling, requirement.NoEffect), inOne(neverFails, requirement.NoEffect)},
	}
}

func checkPostStart(ctx context.Context, env *requirement.Env) error {
	const noted = "/run/parley/started"
	pod := env.NewPod(nodeOfSiblings(env), world.Container("a"), world.Container("b"), world.Container("failing"))
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: execHook(env, "note", noted)}
	pod.Spec.Containers[2].Lifecycle = &corev1.Lifecycle{PostStart: refusedHook(env)}
	if env.Fixture(inSibling) {
		pod.Spec.Containers[1].Lifecycle = pod.Spec.Containers[0].Lifecycle
	}
	if env.Fixture(neverFails) {
		pod.Spec.Containers[2].Lifecycle = pod.Spec.Containers[0].Lifecycle
	}
	ended := func(pod *corev1.Pod, name string) bool { return statusOf(pod, name).State.Terminated != nil }
	started, err := env.StartUntil(ctx, pod, func(now *corev1.Pod) bool {
		return (ended(now, "a") || running("a")(now)) && running("b")(now) && (ended(now, "failing") || running("failing")(now))
	})
	if err != nil {
		return err
	}
	a, b := started.Ends["a"], started.Ends["b"]
	fail := func(end *requirement.End, expected, observed string) error {
		return kubeletFailure(requirement.NoEffect, end, started.Pod, "postStart hook", expected, saidOf(ctx, env, started.Pod, end.Container, "FailedPostStartHook", observed))
	}
	now, err := becomeWithin(ctx, env, started.Pod, unlessRed(env, hookRedWithin), func(now *corev1.Pod) error {
		if !ended(now, "failing") {
			return fail(started.Ends["failing"], "the container to be killed, whose hook failed", stateWords(statusOf(now, "failing")))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, end := range []*requirement.End{a, b} {
		if s := statusOf(now, end.Container); s.State.Running == nil {
			return fail(end, "the container to run, which has no hook that fails", stateWords(s))
		}
	}
	for _, look := range []struct {
		end   *requirement.End
		there bool
		words string
	}{{a, true, "what its hook left in the container's own file system"}, {b, false, "no trace of the sibling's hook"}} {
		seen, err := file(ctx, look.end, wire.File{Do: "stat", Path: noted})
		if err != nil {
			return err
		}
		if seen.Ok() != look.there {
			return fail(look.end, look.words, noted+": "+seen.Errno.String())
		}
	}
	return nil
}

func hookPreStop() requirement.Requirement {
	return requirement.Requirement{
		ID:   "container/hook-pre-stop",
		Long: true,
		Title: "A preStop hook runs in the container that is about to end, which is told to end only after it; a container whose hook fails is " +
			"ended all the same.",
		Level:  requirement.Must,
		Clause: containerHooks,
		Why: "Connections are drained and members leave their cluster there. Told to end before the hook is done, a server drops what it was " +
			"about to hand over.",
		PerNode: true,
		Roles:   nearOnly,
		Check:   checkPreStop, Control: hookControl(),
		MoreControls: []requirement.Control{inOne(doneAtOnce, requirement.NoEffect), inOne(notEnded, requirement.NoEffect)},
	}
}

func checkPreStop(ctx context.Context, env *requirement.Env) error {
	// A container ends alone when its liveness probe fails, here when a file is removed.
	pod := env.NewPod(nodeOfSiblings(env), world.Container("a"), world.Container("b"), world.Container("failing"))
	shareEmptyDir(pod)
	grace := int64(15)
	pod.Spec.TerminationGracePeriodSeconds = &grace
	held := execHook(env, "hold", path.Join(world.SharedPath, holdFile))
	if env.Fixture(doneAtOnce) {
		held = execHook(env, "note", path.Join(world.SharedPath, holdFile+".begun"))
	}
	for i, hook := range map[int]*corev1.LifecycleHandler{0: held, 2: refusedHook(env)} {
		c := &pod.Spec.Containers[i]
		c.Lifecycle = &corev1.Lifecycle{PreStop: hook}
		c.StartupProbe, c.LivenessProbe = execProbeOf("exists", goFile), execProbeOf("exists", goFile)
		c.LivenessProbe.FailureThreshold = 1
	}
	if env.Fixture(notEnded) {
		pod.Spec.Containers[2].LivenessProbe.FailureThreshold = mayFail
	}
	started, err := env.StartUntil(ctx, pod, running())
	if err != nil {
		return err
	}
	a, b, failing := started.Ends["a"], started.Ends["b"], started.Ends["failing"]
	for _, end := range []*requirement.End{a, failing} {
		if err := fileSteps(ctx, end, wire.File{Do: "write", Path: goFile}); err != nil {
			return err
		}
	}
	within := kubeletActs
	becomes := func(end *requirement.End, expected string, right func(corev1.ContainerStatus) bool) error {
		_, err := becomeWithin(ctx, env, started.Pod, within, func(now *corev1.Pod) error {
			if s := statusOf(now, end.Container); !right(s) {
				return kubeletFailure(requirement.NoEffect, end, now, "preStop hook", expected, stateWords(s))
			}
			return nil
		})
		return err
	}
	isStarted := func(s corev1.ContainerStatus) bool { return s.Started != nil && *s.Started }
	restarted := func(s corev1.ContainerStatus) bool { return s.RestartCount > 0 }
	for _, end := range []*requirement.End{a, failing} {
		if err := becomes(end, "it to pass its startup probe", isStarted); err != nil {
			return err
		}
	}
	before, err := boots(ctx, b)
	if err != nil {
		return err
	}
	if err := listens(ctx, a, fmt.Sprintf(":%d", env.Port(1))); err != nil {
		return err
	}
	for _, end := range []*requirement.End{a, failing} {
		if err := fileSteps(ctx, end, wire.File{Do: "remove", Path: goFile}); err != nil {
			return err
		}
	}
	if err := hookBegan(ctx, env, started.Pod, a, b); err != nil {
		return err
	}
	// The hook runs and is not done: the container has not been told to end.
	if err := answersOn(ctx, env, b, env.Port(1)); err != nil {
		if f := requirement.AsFailure(err); f != nil {
			err = kubeletFailure(requirement.NoEffect, a, started.Pod, "preStop hook", "the container to run on while its hook does",
				"its server, from its sibling: "+f.Observed)
		}
		return err
	}
	if err := fileSteps(ctx, b, wire.File{Do: "write", Path: releaseFile}); err != nil {
		return err
	}
	if err := becomes(a, "it to be ended once its hook was done", restarted); err != nil {
		return err
	}
	within = unlessRed(env, hookRedWithin)
	if err := becomes(failing, "it to be ended although its hook failed", restarted); err != nil {
		return err
	}
	return sameBoots(ctx, before, b)
}

// hookBegan waits for what a's hook leaves on the volume, as b sees it, or for a to end without.
func hookBegan(ctx context.Context, env *requirement.Env, pod *corev1.Pod, a, b *requirement.End) error {
	held := path.Join(world.SharedPath, holdFile+".begun")
	var without error
	_, err := become(ctx, env, pod, func(now *corev1.Pod) error {
		seen, err := file(ctx, b, wire.File{Do: "stat", Path: held})
		if err != nil || seen.Ok() {
			return err
		}
		s := statusOf(now, a.Container)
		err = kubeletFailure(requirement.NoEffect, a, now, "preStop hook", "the hook to run before the container ends",
			saidOf(ctx, env, now, a.Container, "FailedPreStopHook", fmt.Sprintf("nothing at %s, and the container %s", held, stateWords(s))))
		if s.RestartCount > 0 {
			without = err
			return nil
		}
		return err
	})
	if without != nil {
		return without
	}
	return err
}
