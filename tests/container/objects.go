package container

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
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
	otherMode             = 0o555 // under the control
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
			return arrives(ctx, env, twoContainers(env), content{protocol: "ConfigMap", volume: configMapVolume(maps[0], defaultMode),
				instead: map[string]corev1.VolumeSource{changedContent: configMapVolume(maps[1], defaultMode), otherModes: configMapVolume(maps[0], otherMode)},
				variables: []corev1.EnvVar{{Name: "PLAIN", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: maps[0].Name}, Key: plainKey}}}},
				files:       always(map[string]string{plainKey: plain, nestedPath: string(nested)}),
				environment: always(map[string]string{"PLAIN": plain}), modes: objectModes})
		},
		Control:      changed(),
		MoreControls: asAskedFor(),
	}
}

// configMapVolume has the ConfigMap's two keys where the rows about them look.
func configMapVolume(of *corev1.ConfigMap, mode int32) corev1.VolumeSource {
	return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: of.Name},
		Items: objectItems, DefaultMode: &mode}}
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
			volume := func(i int, mode int32) corev1.VolumeSource {
				return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secrets[i].Name, Items: objectItems, DefaultMode: &mode}}
			}
			instead := map[string]corev1.VolumeSource{changedContent: volume(1, defaultMode), otherModes: volume(0, otherMode)}
			if env.Fixture(onDisk) {
				same, err := makeConfigMap(ctx, env, &corev1.ConfigMap{Data: map[string]string{plainKey: plain}, BinaryData: map[string][]byte{nestedKey: nested}})
				if err != nil {
					return err
				}
				instead[onDisk] = configMapVolume(same, defaultMode)
			}
			return arrives(ctx, env, twoContainers(env), content{protocol: "Secret", volume: volume(0, defaultMode), instead: instead,
				variables: []corev1.EnvVar{{Name: "PLAIN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: secrets[0].Name}, Key: plainKey}}}},
				files:       always(map[string]string{plainKey: plain, nestedPath: string(nested)}),
				environment: always(map[string]string{"PLAIN": plain}), modes: objectModes, inMemory: true})
		},
		Control: changed(),
		MoreControls: append(asAskedFor(), requirement.Control{Says: onDisk, Variant: &requirement.Variant{Fixture: onDisk, Given: diskIsTold},
			Red: []requirement.Reason{requirement.WrongSetting}}),
	}
}

// onDisk is what a Secret is not to be: a ConfigMap's files are the same and lie on the kubelet's own file system.
const onDisk = "a ConfigMap of the same content in place of the Secret in one of the containers"

// diskIsTold says whether a container sees that what the kubelet keeps for it on its own file system is on no tmpfs.
func diskIsTold(ctx context.Context, env *requirement.Env) error {
	const hosts = "/etc/hosts" // which the kubelet writes there
	end := env.Role(world.SiblingA)
	seen, err := file(ctx, end, wire.File{Do: "stat", Path: hosts})
	if err != nil {
		return err
	}
	if inMemory(env, end, hosts, seen.FSType) {
		return fmt.Errorf("%s in %s, which the kubelet keeps on its own file system, is on %s, too", hosts, end, seen.FSType)
	}
	return nil
}
