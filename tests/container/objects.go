package container

import (
	"context"
	"crypto/rand"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// objectMeta names an object of a check's own like nobody else's.
func objectMeta(env *requirement.Env) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: strings.TrimPrefix(newName(), "/"), Namespace: env.Namespace(), Labels: env.Labels()}
}

func makeConfigMap(ctx context.Context, env *requirement.Env, made *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	made.ObjectMeta = objectMeta(env)
	return requirement.Own(ctx, env, env.Kube.CoreV1().ConfigMaps(made.Namespace), made)
}

func makeSecret(ctx context.Context, env *requirement.Env, data map[string][]byte) (*corev1.Secret, error) {
	made := &corev1.Secret{ObjectMeta: objectMeta(env), Data: data}
	return requirement.Own(ctx, env, env.Kube.CoreV1().Secrets(made.Namespace), made)
}

// The keys of the objects, and where the volumes have them: one under its own name with the default mode, one in a
// directory with a mode of its own.
const (
	plainKey, nestedKey   = "plain.txt", "nested.bin"
	nestedPath            = "dir/nested"
	defaultMode, itemMode = 0o444, 0o644
)

var (
	objectItems = []corev1.KeyToPath{{Key: plainKey, Path: plainKey}, {Key: nestedKey, Path: nestedPath, Mode: ref[int32](itemMode)}}
	objectModes = map[string]uint32{plainKey: defaultMode, nestedPath: itemMode}
)

func ref[T any](value T) *T { return &value }

// someBytes are text and every byte there is.
func someBytes() (plain string, nested []byte) {
	nested = make([]byte, 4096)
	rand.Read(nested)
	for i := range 256 {
		nested[i] = byte(i)
	}
	return "plain " + newName() + "\nof two lines\n", nested
}

func configMap() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/configmap",
		Title: "A ConfigMap mounted in two containers has the same text and bytes in both, at the paths and with the modes asked for, not to " +
			"be written; its keys are there as variables too.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/configuration/configmap/",
			Says: "Keys of data and binaryData become files of a read-only volume, with defaultMode or an item's own mode, and variables by configMapKeyRef.",
		},
		Why:     "Containers of one pod agree on their configuration by it. Bytes that are no text, and modes, are what gets lost on the way.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA},
		Check: func(ctx context.Context, env *requirement.Env) error {
			plain, nested := someBytes()
			var maps []*corev1.ConfigMap
			for _, text := range []string{plain, changedWord} {
				made, err := makeConfigMap(ctx, env, &corev1.ConfigMap{Data: map[string]string{plainKey: text}, BinaryData: map[string][]byte{nestedKey: nested}})
				if err != nil {
					return err
				}
				maps = append(maps, made)
			}
			volume := func(i int) corev1.VolumeSource {
				return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: maps[i].Name},
					Items: objectItems, DefaultMode: ref[int32](defaultMode)}}
			}
			return arrives(ctx, env, twoContainers(env), content{protocol: "ConfigMap", volume: volume(0), changed: volume(1),
				variables: []corev1.EnvVar{{Name: "PLAIN", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: maps[0].Name}, Key: plainKey}}}},
				files:       always(map[string]string{plainKey: plain, nestedPath: string(nested)}),
				environment: always(map[string]string{"PLAIN": plain}), modes: objectModes})
		},
		Control: changed(),
	}
}

func secret() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/secret",
		Title: "A Secret mounted in two containers has the same bytes in both, at the paths and with the modes asked for, on a tmpfs, not to be " +
			"written; its keys are there as variables too.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/storage/volumes/#secret",
			Says: "A secret volume is mounted read-only and backed by tmpfs, so that it is never written to non-volatile storage.",
		},
		Why:     "Keys and passwords come to both halves of a pod so. On a disk of the node they would outlive the pod.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA},
		Check: func(ctx context.Context, env *requirement.Env) error {
			plain, nested := someBytes()
			var secrets []*corev1.Secret
			for _, text := range []string{plain, changedWord} {
				made, err := makeSecret(ctx, env, map[string][]byte{plainKey: []byte(text), nestedKey: nested})
				if err != nil {
					return err
				}
				secrets = append(secrets, made)
			}
			volume := func(i int) corev1.VolumeSource {
				return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secrets[i].Name, Items: objectItems, DefaultMode: ref[int32](defaultMode)}}
			}
			return arrives(ctx, env, twoContainers(env), content{protocol: "Secret", volume: volume(0), changed: volume(1),
				variables: []corev1.EnvVar{{Name: "PLAIN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: secrets[0].Name}, Key: plainKey}}}},
				files:       always(map[string]string{plainKey: plain, nestedPath: string(nested)}),
				environment: always(map[string]string{"PLAIN": plain}), modes: objectModes, inMemory: true})
		},
		Control: changed(),
	}
}
