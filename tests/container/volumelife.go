package container

import (
	"context"
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// mountAll mounts the volume at the path in every container of the pod.
func mountAll(pod *corev1.Pod, name string, source corev1.VolumeSource, at string) {
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].VolumeMounts = append(pod.Spec.Containers[i].VolumeMounts, corev1.VolumeMount{Name: name, MountPath: at})
	}
}

func shareEmptyDir(pod *corev1.Pod) {
	mountAll(pod, "shared", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, world.SharedPath)
}

// nodeOfSiblings is the node of the siblings: a check's own pods go there too.
func nodeOfSiblings(env *requirement.Env) string { return env.Role(world.SiblingA).Node }

var emptyDirLife = requirement.Clause{
	URL:  "https://kubernetes.io/docs/concepts/storage/volumes/#emptydir",
	Says: "An emptyDir is made empty when the pod is assigned to a node, survives crashes of its containers, and is deleted for good with the pod.",
}

func volumeSurvivesRestart() requirement.Requirement {
	const deleted = "delete the pod instead"
	return requirement.Requirement{
		ID:      "container/volume-survives-restart",
		Long:    true,
		Title:   "What a container wrote on an emptyDir is still there after the container was restarted.",
		Level:   requirement.Must,
		Clause:  emptyDirLife,
		Why:     "A crash shall cost the process and not its spool, checkpoint or cache: the volume is the pod's and not the container's.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA},
		Check: func(ctx context.Context, env *requirement.Env) error {
			pod := env.NewPod(nodeOfSiblings(env), world.Container("a"))
			shareEmptyDir(pod)
			started, err := env.Start(ctx, pod)
			if err != nil {
				return err
			}
			end, at := started.Ends["a"], path.Join(world.SharedPath, "kept")
			data := newName()
			if err := fileSteps(ctx, end, wire.File{Do: "write", Path: at, Data: []byte(data)}); err != nil {
				return err
			}
			if env.Fixture(deleted) {
				if started, err = startAgain(ctx, env, started, pod); err != nil {
					return err
				}
				end = started.Ends["a"]
			} else if err := restart(ctx, env, end); err != nil {
				return err
			}
			got, err := file(ctx, end, wire.File{Do: "read", Path: at})
			if err != nil {
				return err
			}
			if string(got.Data) != data {
				return volumeFailure(requirement.Lost, end, nil, at, fmt.Sprintf("%q, as it was written before the restart", data),
					fmt.Sprintf("%s, %q", got.Errno, got.Data))
			}
			return nil
		},
		Control: requirement.Control{Says: deleted, Variant: &requirement.Variant{Fixture: deleted}, Red: []requirement.Reason{requirement.Lost}},
	}
}

// startAgain removes a pod and makes it anew, with the same name.
func startAgain(ctx context.Context, env *requirement.Env, started *requirement.Started, pod *corev1.Pod) (*requirement.Started, error) {
	if err := started.Remove(ctx); err != nil {
		return nil, err
	}
	twin := pod.DeepCopy()
	twin.Name, twin.GenerateName = started.Pod.Name, ""
	return env.Start(ctx, twin)
}

func volumeDiesWithPod() requirement.Requirement {
	const hostPath = "hostPath"
	return requirement.Requirement{
		ID:     "container/volume-dies-with-pod",
		Long:   true,
		Title:  "A pod that is deleted and made again, of the same name and on the same node, begins with an empty emptyDir.",
		Level:  requirement.Must,
		Clause: emptyDirLife,
		Why: "Who comes after on that node must not find what the one before left: that would be a leak between tenants and a trap for a program " +
			"that takes an empty directory for a new start.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return checkDiesWithPod(ctx, env, env.Fixture(hostPath))
		},
		Control: requirement.Control{Says: "a " + hostPath + " in its place", Variant: &requirement.Variant{Fixture: hostPath},
			Red: []requirement.Reason{requirement.Leaked}},
	}
}

func checkDiesWithPod(ctx context.Context, env *requirement.Env, hostPath bool) error {
	const run = "/run" // of the node: it is there on every node, and in memory
	pod, directory := env.NewPod(nodeOfSiblings(env), world.Container("a")), newName()
	if hostPath {
		toBeMade, there, root, no := corev1.HostPathDirectoryOrCreate, corev1.HostPathDirectory, int64(0), false
		pod.Namespace = env.PrivilegedNamespace()
		pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: &root, AllowPrivilegeEscalation: &no}
		mountAll(pod, "shared", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: run + directory, Type: &toBeMade}}, world.SharedPath)
		mountAll(pod, "run", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: run, Type: &there}}, world.HostPath)
	} else {
		shareEmptyDir(pod)
	}
	started, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	at := path.Join(world.SharedPath, "left")
	if err := fileSteps(ctx, started.Ends["a"], wire.File{Do: "write", Path: at, Data: []byte("left")}); err != nil {
		return err
	}
	if started, err = startAgain(ctx, env, started, pod); err != nil {
		return err
	}
	end := started.Ends["a"]
	if hostPath {
		defer forget(ctx, end, at, world.HostPath+directory)
	}
	list, err := file(ctx, end, wire.File{Do: "list", Path: world.SharedPath})
	if err != nil {
		return err
	}
	if !list.Ok() {
		return fmt.Errorf("%s cannot list %s: %s", end, world.SharedPath, list.Errno)
	}
	if len(list.Names) > 0 {
		return volumeFailure(requirement.Leaked, end, nil, world.SharedPath, "an empty volume in the pod's new life", "what it left before: "+strings.Join(list.Names, ", "))
	}
	return nil
}

func volumePropagation() requirement.Requirement {
	const none = "None"
	return requirement.Requirement{
		ID:   "container/volume-propagation",
		Long: true,
		Title: "A mount that a container makes in a volume mounted with Bidirectional appears in a sibling that mounts it with HostToContainer, " +
			"and goes from there with it.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/storage/volumes/#mount-propagation",
			Says: "Bidirectional passes mounts made by a privileged container on to the node and to all containers that use the volume; " +
				"HostToContainer receives them.",
		},
		Why: "CSI node plugins mount volumes for other pods so. It needs a shared mount on the node, which some distributions and " +
			"nested nodes do not have.",
		PodSecurity: "privileged",
		PerNode:     true,
		Roles:       []world.Role{world.SiblingA},
		Check: func(ctx context.Context, env *requirement.Env) error {
			return checkPropagation(ctx, env, env.Fixture(none))
		},
		Control: requirement.Control{Says: "propagation None in the sibling", Variant: &requirement.Variant{Fixture: none},
			Red: []requirement.Reason{requirement.NotShared}},
	}
}

func checkPropagation(ctx context.Context, env *requirement.Env, none bool) error {
	pod := env.NewPod(nodeOfSiblings(env), world.Container("a"), world.Container("b"))
	pod.Namespace = env.PrivilegedNamespace()
	shareEmptyDir(pod)
	both, receive, root, yes := corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, int64(0), true
	if none {
		receive = corev1.MountPropagationNone
	}
	mounter, sibling := &pod.Spec.Containers[0], &pod.Spec.Containers[1]
	mounter.SecurityContext = &corev1.SecurityContext{Privileged: &yes, RunAsUser: &root}
	mounter.VolumeMounts[0].MountPropagation, sibling.VolumeMounts[0].MountPropagation = &both, &receive
	started, err := env.Start(ctx, pod)
	if err != nil && strings.Contains(err.Error(), "propagation") { // the runtime's own words, which name what it refuses
		return &requirement.Failure{Reason: requirement.NoEffect, Target: "mountPropagation Bidirectional", Protocol: "volume",
			Expected: "the container to start", Observed: err.Error(), Again: "kubectl get events -n " + pod.Namespace}
	}
	if err != nil {
		return err
	}
	a, b := started.Ends["a"], started.Ends["b"]
	const source, marker = "/run/parley/source", "mounted"
	point := path.Join(world.SharedPath, "point")
	if err := fileSteps(ctx, a, wire.File{Do: "mkdir", Path: source, Mode: 0o755}, wire.File{Do: "write", Path: path.Join(source, marker)},
		wire.File{Do: "mkdir", Path: point, Mode: 0o755}); err != nil {
		return err
	}
	if err := a.Mount(ctx, wire.Mount{Do: "bind", Source: source, Target: point}); err != nil {
		return err
	}
	unmounted := false
	defer func() {
		if !unmounted { // a mount that stays keeps the node from removing the pod
			cleanUp(ctx, func(ctx context.Context) error { return a.Mount(ctx, wire.Mount{Do: "unmount", Target: point}) })
		}
	}()
	seen, err := file(ctx, b, wire.File{Do: "stat", Path: path.Join(point, marker)})
	if err != nil {
		return err
	}
	if !seen.Ok() {
		return volumeFailure(requirement.NotShared, a, b, point, "the sibling to see what was mounted there", seen.Errno.String())
	}
	if err := a.Mount(ctx, wire.Mount{Do: "unmount", Target: point}); err != nil {
		return err
	}
	unmounted = true
	if seen, err = file(ctx, b, wire.File{Do: "stat", Path: path.Join(point, marker)}); err != nil {
		return err
	}
	if seen.Class != wire.NotThere {
		return volumeFailure(requirement.Leaked, a, b, point, "the mount to be gone for the sibling too once it was unmounted", seen.Errno.String())
	}
	return nil
}
