package container

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func fieldFile(name, field string) corev1.DownwardAPIVolumeFile {
	return corev1.DownwardAPIVolumeFile{Path: name, FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}
}

func fieldVariable(name, field string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}}
}

func downward() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/downward",
		Title: "The downward API tells two containers the same of their pod, in files and variables: its name, namespace, UID, labels, " +
			"annotations, addresses, node and limits.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/concepts/workloads/pods/downward-api/",
			Says: "Fields of the pod and of its containers are there as variables and as files of a downwardAPI volume.",
		},
		Why:     "A clustered program learns its own name and address from it. A variable that is not what the API says of the pod has it join as somebody else.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA},
		Check:   checkDownward, Control: changed(), // which changes a file
		MoreControls: []requirement.Control{changedVariable()},
	}
}

func checkDownward(ctx context.Context, env *requirement.Env) error {
	pod := twoContainers(env)
	const annotation = "parley.dev/downward"
	pod.Annotations = map[string]string{annotation: "one\ntwo \"quoted\""}
	volume := func(nameOf string) corev1.VolumeSource {
		return corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{DefaultMode: ref[int32](defaultMode), Items: []corev1.DownwardAPIVolumeFile{
			fieldFile("name", nameOf), fieldFile("namespace", "metadata.namespace"), fieldFile("uid", "metadata.uid"),
			fieldFile("label", "metadata.labels['parley.dev/pod']"), fieldFile("annotation", "metadata.annotations['"+annotation+"']"),
			{Path: "limit", Mode: ref[int32](itemMode), ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "a", Resource: "limits.memory"}},
		}}}
	}
	modes := map[string]uint32{"limit": itemMode}
	for _, name := range []string{"name", "namespace", "uid", "label", "annotation"} {
		modes[name] = defaultMode
	}
	return arrives(ctx, env, pod, content{protocol: "downward API", volume: volume("metadata.name"),
		instead: map[string]corev1.VolumeSource{changedContent: volume("metadata.namespace")},
		variables: []corev1.EnvVar{fieldVariable("NAME", "metadata.name"), fieldVariable("NODE", "spec.nodeName"),
			fieldVariable("IP", "status.podIP"), fieldVariable("IPS", "status.podIPs"), fieldVariable("HOST", "status.hostIP")},
		modes: modes, inMemory: true,
		files: func(pod *corev1.Pod) map[string]string {
			return map[string]string{"name": pod.Name, "namespace": pod.Namespace, "uid": string(pod.UID), "label": pod.Labels["parley.dev/pod"],
				"annotation": pod.Annotations[annotation], "limit": fmt.Sprint(pod.Spec.Containers[0].Resources.Limits.Memory().Value())}
		},
		environment: func(pod *corev1.Pod) map[string]string {
			var ips []string
			for _, ip := range pod.Status.PodIPs {
				ips = append(ips, ip.IP)
			}
			return map[string]string{"NAME": pod.Name, "NODE": pod.Spec.NodeName, "IP": pod.Status.PodIP, "IPS": strings.Join(ips, ","), "HOST": pod.Status.HostIP}
		},
	})
}

func projected() requirement.Requirement {
	return requirement.Requirement{
		ID: "container/projected",
		Title: "A projected volume has a ConfigMap, a Secret, downward fields and a token for the audience asked for, the same in two " +
			"containers; the token is for their user alone.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/storage/projected-volumes/",
			Says: "Several sources are mapped into one directory; where all containers have one runAsUser, the token file belongs to that user " +
				"with mode 0600.",
		},
		Why:     "Workload identity rests on the token: its audience keeps one service from using it at another, and its mode keeps it from strangers.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA},
		Check:   checkProjected, Control: changed(),
		// Files of the other sources are compared as the ConfigMap's are. The token has a judge of its own.
		MoreControls: []requirement.Control{
			inOne(otherAudience, requirement.Broken),
			inOne(otherToken, requirement.Broken),
			inOne(otherUser, requirement.WrongSetting),
		},
	}
}

// Variants of the token that the last container finds.
const (
	otherAudience = "a token for another audience in one of the containers"
	otherToken    = "another token for the same audience in one of the containers"
	otherUser     = "another user in one of the containers, so that the token is for both"
)

const (
	tokenAudience = "parley.example"
	projectedUser = 4711
)

func checkProjected(ctx context.Context, env *requirement.Env) error {
	plain, nested := someBytes()
	secret, err := makeSecret(ctx, env, map[string][]byte{nestedKey: nested})
	if err != nil {
		return err
	}
	var maps []*corev1.ConfigMap
	for _, text := range []string{plain, changedWord} {
		object, err := makeConfigMap(ctx, env, &corev1.ConfigMap{Data: map[string]string{plainKey: text}})
		if err != nil {
			return err
		}
		maps = append(maps, object)
	}
	// The kubelet gives those who ask for the same, its lifetime included, one token.
	volume := func(i int, audience string, lives time.Duration) corev1.VolumeSource {
		return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: ref[int32](defaultMode), Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: maps[i].Name}}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: secret.Name}, Items: objectItems[1:]}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{fieldFile("name", "metadata.name")}}},
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, Path: "token", ExpirationSeconds: ref(int64(lives.Seconds()))}},
		}}}
	}
	pod := twoContainers(env)
	user := int64(projectedUser)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &user}
	if env.Fixture(otherUser) {
		last := &pod.Spec.Containers[1]
		if last.SecurityContext == nil {
			last.SecurityContext = &corev1.SecurityContext{}
		}
		last.SecurityContext.RunAsUser = ref(user + 1)
	}
	first := ""
	return arrives(ctx, env, pod, content{protocol: "projected volume", volume: volume(0, tokenAudience, time.Hour), inMemory: true,
		instead: map[string]corev1.VolumeSource{changedContent: volume(1, tokenAudience, time.Hour),
			otherAudience: volume(0, "other."+tokenAudience, time.Hour), otherToken: volume(0, tokenAudience, 2*time.Hour)},
		modes: map[string]uint32{plainKey: defaultMode, nestedPath: itemMode, "name": defaultMode},
		files: func(pod *corev1.Pod) map[string]string {
			return map[string]string{plainKey: plain, nestedPath: string(nested), "name": pod.Name}
		},
		more: func(ctx context.Context, end *requirement.End, pod *corev1.Pod) error {
			token, err := tokenIn(ctx, end, pod)
			if err == nil && first != "" && token != first {
				err = &requirement.Failure{Reason: requirement.Broken, From: end, Target: path.Join(contentPath, "token"), Protocol: "projected token",
					Expected: "the token that the sibling finds", Observed: "another one"}
			}
			first = token
			return err
		},
	})
}

// tokenIn judges the token that a container finds.
func tokenIn(ctx context.Context, end *requirement.End, pod *corev1.Pod) (string, error) {
	at := path.Join(contentPath, "token")
	fail := func(reason requirement.Reason, expected, observed string) error {
		return &requirement.Failure{Reason: reason, From: end, Target: at, Protocol: "projected token", Expected: expected, Observed: observed}
	}
	got, err := file(ctx, end, wire.File{Do: "read", Path: at})
	if err != nil {
		return "", err
	}
	switch {
	case !got.Ok():
		return "", fail(requirement.NotShared, "a token", got.Errno.String())
	case got.Mode&0o777 != 0o600 || got.UID != projectedUser:
		return "", fail(requirement.WrongSetting, fmt.Sprintf("mode 0600 and UID %d", projectedUser), fmt.Sprintf("mode %04o and UID %d", got.Mode&0o777, got.UID))
	}
	var claims struct {
		Audience []string `json:"aud"`
		Of       struct {
			Pod struct {
				Name string `json:"name"`
				UID  string `json:"uid"`
			} `json:"pod"`
		} `json:"kubernetes.io"`
	}
	parts := strings.Split(string(got.Data), ".")
	if len(parts) != 3 {
		return "", fail(requirement.Broken, "a JSON Web Token of three parts", fmt.Sprintf("%d parts", len(parts)))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &claims)
	}
	switch {
	case err != nil:
		return "", fail(requirement.Broken, "the claims of a JSON Web Token", err.Error())
	case !slices.Equal(claims.Audience, []string{tokenAudience}):
		return "", fail(requirement.Broken, "the audience "+tokenAudience+" alone", fmt.Sprint(claims.Audience))
	case claims.Of.Pod.UID != string(pod.UID):
		return "", fail(requirement.Broken, "a token bound to the pod "+pod.Name, "one for "+claims.Of.Pod.Name)
	}
	return string(got.Data), nil
}
