package container

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

func configMapUpdate() requirement.Requirement {
	const immutable = "immutable"
	return requirement.Requirement{
		ID: "container/configmap-update",
		Title: "An update of a mounted ConfigMap reaches all containers, each key together with the others, within the kubelet's sync period " +
			"and its cache's delay; a subPath mount stays as it was.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically",
			Says: "Projected keys are updated eventually: the delay can be as long as the kubelet's sync period and the propagation delay of its " +
				"cache; a container that uses a subPath mount does not receive updates.",
		},
		Why: "Programs reload their configuration without a restart. Two keys that belong together must not be seen of two versions, which the " +
			"kubelet ensures by swapping one link.",
		PerNode: true,
		Roles:   nearOnly,
		Slow:    true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			return checkUpdate(ctx, env, env.Fixture(immutable))
		},
		Control: requirement.Control{Says: immutable, Variant: &requirement.Variant{Fixture: immutable}, Red: []requirement.Reason{requirement.NoEffect}},
	}
}

// The keys whose values are always of one version, and where one of them is mounted by subPath.
const (
	leftKey, rightKey = "left", "right"
	fixedPath         = "/fixed"
)

func checkUpdate(ctx context.Context, env *requirement.Env, immutable bool) error {
	version := func(n string) map[string]string { return map[string]string{leftKey: n, rightKey: n} }
	made, err := makeConfigMap(ctx, env, &corev1.ConfigMap{Data: version("first"), Immutable: ref(immutable)})
	if err != nil {
		return err
	}
	pod := twoContainers(env)
	mountAll(pod, "content", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: made.Name}}}, contentPath)
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].VolumeMounts = append(pod.Spec.Containers[i].VolumeMounts,
			corev1.VolumeMount{Name: "content", MountPath: fixedPath, SubPath: leftKey})
	}
	started, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	within, how, err := updatesWithin(ctx, env, started.Pod.Spec.NodeName)
	if err != nil {
		return err
	}
	for _, next := range []string{"second", "third"} {
		// A pod that was just made is looked at often; the second update is the one that waits for the period.
		if deadline, ok := ctx.Deadline(); ok && next == "third" && time.Until(deadline) < within {
			env.Note("no second update: it may take %s, and the check has no time for that", within)
			break
		}
		made.Data = version(next)
		made, err = env.Kube.CoreV1().ConfigMaps(pod.Namespace).Update(ctx, made, metav1.UpdateOptions{})
		if apierrors.IsInvalid(err) {
			return kubeletFailure(requirement.NoEffect, started.Ends["a"], started.Pod, "ConfigMap", "the update to be taken", err.Error())
		} else if err != nil {
			return fmt.Errorf("updating the ConfigMap: %w", err)
		}
		begun := time.Now()
		for _, name := range []string{"a", "b"} {
			if err := updated(ctx, started.Ends[name], next, within-time.Since(begun), how); err != nil {
				return err
			}
		}
		env.Note("version %q was in both containers after %s; it may take %s (%s)", next, time.Since(begun).Round(100*time.Millisecond), within, how)
	}
	return nil
}

// updated waits until the container sees the version, and looks whether its subPath mount stayed.
func updated(ctx context.Context, end *requirement.End, version string, within time.Duration, how string) error {
	var torn *requirement.Failure
	seen, err := until.Settled(ctx, until.Policy{Within: within, Every: 100 * time.Millisecond}, func(ctx context.Context) error {
		err := versionIs(ctx, end, version)
		if f := requirement.AsFailure(err); f != nil && f.Reason == requirement.Broken {
			torn = f // once is too often
			return nil
		}
		return err
	})
	if torn != nil {
		return torn
	}
	if f := requirement.AsFailure(err); f != nil {
		f.Expected += fmt.Sprintf(" within %s (%s)", within.Round(time.Second), how)
		f.Attempts, f.Took = seen.Attempts, seen.Took
		return f
	} else if err != nil {
		return err
	}
	got, err := file(ctx, end, wire.File{Do: "read", Path: fixedPath})
	if err != nil {
		return err
	}
	if string(got.Data) != "first" {
		return volumeFailure(requirement.Broken, end, nil, fixedPath, `"first" in a file mounted by subPath`, fmt.Sprintf("%q %s", got.Data, got.Errno))
	}
	return nil
}

// versionIs says whether both keys are of the version, and never of two: they are read through the one link that the
// kubelet swaps.
func versionIs(ctx context.Context, end *requirement.End, want string) error {
	link, err := file(ctx, end, wire.File{Do: "readlink", Path: path.Join(contentPath, "..data")})
	if err != nil {
		return err
	}
	if !link.Ok() {
		return fmt.Errorf("%s has no link ..data in %s: %s", end, contentPath, link.Errno)
	}
	texts := map[string]string{}
	for _, key := range []string{leftKey, rightKey} {
		got, err := file(ctx, end, wire.File{Do: "read", Path: path.Join(contentPath, string(link.Data), key)})
		if err != nil {
			return err
		}
		texts[key] = string(got.Data)
		if !got.Ok() {
			texts[key] = got.Errno.String()
		}
	}
	if texts[leftKey] != texts[rightKey] && texts[rightKey] == want {
		return volumeFailure(requirement.Broken, end, nil, contentPath, "both keys of one version", fmt.Sprintf("%q and %q", texts[leftKey], texts[rightKey]))
	}
	if texts[leftKey] != want {
		return volumeFailure(requirement.NoEffect, end, nil, contentPath, fmt.Sprintf("version %q", want), fmt.Sprintf("version %q", texts[leftKey]))
	}
	return nil
}

// resyncJitter is how much longer than its sync period a kubelet may take to look at a pod again: half
// (workerResyncIntervalJitterFactor in pkg/kubelet/pod_workers.go).
const resyncJitter = 1.5

// updatesWithin is how long an update may take by the node's own configuration, and how that is made up.
func updatesWithin(ctx context.Context, env *requirement.Env, node string) (time.Duration, string, error) {
	raw, err := env.Configz(ctx, node)
	if err != nil {
		return 0, "", err
	}
	var config struct {
		Kubelet struct {
			Sync     metav1.Duration `json:"syncFrequency"`
			Strategy string          `json:"configMapAndSecretChangeDetectionStrategy"`
		} `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return 0, "", fmt.Errorf("reading the kubelet's configz on %s: %w", node, err)
	}
	const cache = 10 * time.Second // a watch takes milliseconds; for strategy Cache it is the sync period again
	sync := config.Kubelet.Sync.Duration
	within := time.Duration(float64(sync)*resyncJitter) + cache
	if config.Kubelet.Strategy == "Cache" {
		within += sync
	}
	return within, fmt.Sprintf("syncFrequency %s with its jitter, change detection by %s", sync, config.Kubelet.Strategy), nil
}
