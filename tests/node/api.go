package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/authority"
)

const (
	// accountPath is where a pod finds its service account's token and the cluster's CA.
	accountPath = "/var/run/secrets/kubernetes.io/serviceaccount"
	// anotherCA is the variant whose pod is given a CA that is not the cluster's.
	anotherCA = "another-ca"
	// apiAnswer bounds one request: name, connection, TLS and an answer that reads nothing from etcd.
	apiAnswer = 3000 // milliseconds
)

func podToAPI() requirement.Requirement {
	return requirement.Requirement{
		ID: "node/pod-to-api",
		Title: "A pod reaches the API server as kubernetes.default.svc with what is mounted in it: ca.crt verifies the certificate, " +
			"and the token names its own service account and pod.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/",
			Says: "The recommended way to the API server from a pod is the name kubernetes.default.svc; the token of the pod's service account " +
				"and the CA's certificate that verifies the API server are mounted at " + accountPath + ".",
		},
		Why: "Every controller and operator starts with this request. It takes DNS, the virtual IP of the kubernetes Service, a route to a " +
			"node outside the pod network, the right names in a certificate and a token that the API server still believes.",
		Roles: []world.Role{world.Everywhere},
		Check: knownToAPI,
		Control: requirement.Control{
			Says:    "a pod with another CA's certificate in ca.crt",
			Variant: &requirement.Variant{Fixture: anotherCA},
			Red:     []requirement.Reason{requirement.Untrusted},
		},
	}
}

func knownToAPI(ctx context.Context, env *requirement.Env) error {
	yes := true
	pod := env.NewPod("", world.Container("client"))
	pod.Spec.AutomountServiceAccountToken = &yes
	if env.Fixture(anotherCA) {
		if err := mountAnotherCA(ctx, env, pod); err != nil {
			return err
		}
	}
	started, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	client := started.Ends["client"]
	account := "system:serviceaccount:" + started.Pod.Namespace + ":" + started.Pod.Spec.ServiceAccountName
	return env.Until(ctx, func(ctx context.Context) error { return authenticatedAs(ctx, client, account, string(started.Pod.UID)) })
}

func authenticatedAs(ctx context.Context, client *requirement.End, account, uid string) error {
	const url = "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews"
	got, err := client.HTTP(ctx, wire.HTTP{URL: url, Method: http.MethodPost, Timeout: apiAnswer,
		Header:    map[string]string{"Content-Type": "application/json"},
		Body:      `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`,
		CAFile:    path.Join(accountPath, "ca.crt"),
		TokenFile: path.Join(accountPath, "token")})
	if err != nil {
		return fmt.Errorf("asking %s to reach the API server: %w", client, err)
	}
	fail := func(reason requirement.Reason, expected, observed string) error {
		return &requirement.Failure{Reason: reason, From: client, Target: url, Protocol: "https", Expected: expected, Observed: observed,
			Again: fmt.Sprintf("kubectl auth whoami --as=%s; kubectl exec -n %s %s -- /agent version", account, client.Namespace, client.Pod)}
	}
	switch {
	case !got.Ok():
		return fail(requirement.ReasonOf(got.Errno), "an answer that the mounted ca.crt verifies", got.Errno.String())
	case got.Status != http.StatusCreated:
		return fail(requirement.Denied, "status 201", fmt.Sprintf("status %d: %.300s", got.Status, got.Body))
	}
	var review authenticationv1.SelfSubjectReview
	if err := json.Unmarshal([]byte(got.Body), &review); err != nil {
		return fail(requirement.WrongServer, "a SelfSubjectReview", err.Error())
	}
	user := review.Status.UserInfo
	if user.Username != account {
		return fail(requirement.WrongName, "to be known as "+account, user.Username)
	}
	// A token that is bound to its pod says so; an API server that mounts others says nothing.
	if bound := user.Extra["authentication.kubernetes.io/pod-uid"]; len(bound) > 0 && bound[0] != uid {
		return fail(requirement.WrongName, "a token bound to pod UID "+uid, fmt.Sprintf("one bound to %v", bound))
	}
	return nil
}

// mountAnotherCA gives the pod's container a mount in the place of the one that would be made for it: the same, but
// for the CA.
func mountAnotherCA(ctx context.Context, env *requirement.Env, pod *corev1.Pod) error {
	ca, err := authority.New()
	if err != nil {
		return err
	}
	made, err := requirement.Own(ctx, env, env.Kube.CoreV1().ConfigMaps(pod.Namespace), &corev1.ConfigMap{
		ObjectMeta: env.ObjectMeta("another-ca-"), Data: map[string]string{"ca.crt": string(ca.Certificate)}})
	if err != nil {
		return err
	}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "account", VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: made.Name}}},
		}}}})
	pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts,
		corev1.VolumeMount{Name: "account", MountPath: accountPath, ReadOnly: true})
	return nil
}
