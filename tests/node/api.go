package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests/internal/authority"
)

const (
	// accountPath is where a pod finds its service account's token and the cluster's CA.
	accountPath = "/var/run/secrets/kubernetes.io/serviceaccount"
	// anotherCA is the variant whose pod is given a CA that is not the cluster's.
	anotherCA = "another-ca"
	// anotherAccount and anotherPod are the variants in which a pod of the world shows the token of the check's pod, which has another service
	// account, or the same.
	anotherAccount = "another-account"
	anotherPod     = "another-pod"
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
		MoreControls: []requirement.Control{
			{
				Says:    "the token of a pod with another service account, shown by a pod of the world",
				Variant: &requirement.Variant{Fixture: anotherAccount},
				Red:     []requirement.Reason{requirement.WrongName},
			},
			{
				Says:    "the token of another pod with the same service account, shown by a pod of the world",
				Variant: &requirement.Variant{Fixture: anotherPod, Given: tokensBound},
				Red:     []requirement.Reason{requirement.WrongName},
			},
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
	if env.Fixture(anotherAccount) {
		made, err := requirement.Own(ctx, env, env.Kube.CoreV1().ServiceAccounts(pod.Namespace), &corev1.ServiceAccount{ObjectMeta: env.ObjectMeta("")})
		if err != nil {
			return fmt.Errorf("making a service account: %w", err)
		}
		pod.Spec.ServiceAccountName = made.Name
	}
	started, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	client, mounted := started.Ends["client"], wire.HTTP{CAFile: path.Join(accountPath, "ca.crt"), TokenFile: path.Join(accountPath, "token")}
	is := started.Pod
	if env.Fixture(anotherAccount) || env.Fixture(anotherPod) {
		if mounted, err = readAccount(ctx, client); err != nil {
			return err
		}
		client = env.Roles(world.Everywhere)[0]
		if is, err = env.Kube.CoreV1().Pods(client.Namespace).Get(ctx, client.Pod, metav1.GetOptions{}); err != nil {
			return fmt.Errorf("reading the pod of %s: %w", client, err)
		}
	}
	account := "system:serviceaccount:" + is.Namespace + ":" + is.Spec.ServiceAccountName
	return env.Until(ctx, func(ctx context.Context) error {
		user, err := authenticatedAs(ctx, client, mounted, account)
		if err != nil {
			return err
		}
		// A token that is bound to its pod says so; an API server that mounts others says nothing.
		switch bound := user.Extra["authentication.kubernetes.io/pod-uid"]; {
		case len(bound) == 0:
			env.Note(unbound)
		case bound[0] != string(is.UID):
			return accountFailure(client, account, requirement.WrongName, "a token bound to pod UID "+string(is.UID), fmt.Sprintf("one bound to %v", bound))
		}
		return nil
	})
}

// readAccount is what is mounted in the end's container, for another to show.
func readAccount(ctx context.Context, end *requirement.End) (wire.HTTP, error) {
	var texts [][]byte
	for _, name := range []string{"ca.crt", "token"} {
		read, err := end.File(ctx, wire.File{Do: "read", Path: path.Join(accountPath, name)})
		if err := probe.Either(read.Errno, err); err != nil {
			return wire.HTTP{}, fmt.Errorf("reading %s of %s: %w", name, end, err)
		}
		texts = append(texts, read.Data)
	}
	return wire.HTTP{CA: texts[0], Header: map[string]string{"Authorization": "Bearer " + strings.TrimSpace(string(texts[1]))}}, nil
}

// unbound is noted where the API server does not say which pod the token is bound to.
const unbound = "the API server does not say which pod the token is bound to, so that this is not judged"

// tokensBound says whether the check judged which pod a token is bound to.
func tokensBound(_ context.Context, env *requirement.Env) error {
	if slices.Contains(env.Notes(), unbound) {
		return errors.New(unbound)
	}
	return nil
}

const apiURL = "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews"

func accountFailure(client *requirement.End, account string, reason requirement.Reason, expected, observed string) error {
	return &requirement.Failure{Reason: reason, From: client, Target: apiURL, Protocol: "https", Expected: expected, Observed: observed,
		Again: fmt.Sprintf("kubectl auth whoami --as=%s; kubectl exec -n %s %s -- /agent version", account, client.Namespace, client.Pod)}
}

// authenticatedAs is whom the API server takes the client for, by the CA and the token that are given: the account, or it is a failure.
func authenticatedAs(ctx context.Context, client *requirement.End, by wire.HTTP, account string) (user authenticationv1.UserInfo, err error) {
	header := map[string]string{"Content-Type": "application/json"}
	maps.Copy(header, by.Header)
	got, err := client.HTTP(ctx, wire.HTTP{URL: apiURL, Method: http.MethodPost, Timeout: apiAnswer, Header: header,
		Body:   `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`,
		CAFile: by.CAFile, CA: by.CA, TokenFile: by.TokenFile})
	if err != nil {
		return user, fmt.Errorf("asking %s to reach the API server: %w", client, err)
	}
	fail := func(reason requirement.Reason, expected, observed string) error {
		return accountFailure(client, account, reason, expected, observed)
	}
	switch {
	case !got.Ok():
		return user, fail(requirement.ReasonOf(got.Errno), "an answer that the mounted ca.crt verifies", got.Errno.String())
	case got.Status != http.StatusCreated:
		return user, fail(requirement.Denied, "status 201", fmt.Sprintf("status %d: %.300s", got.Status, got.Body))
	}
	var review authenticationv1.SelfSubjectReview
	if err := json.Unmarshal([]byte(got.Body), &review); err != nil {
		return user, fail(requirement.WrongServer, "a SelfSubjectReview", err.Error())
	}
	if user = review.Status.UserInfo; user.Username != account {
		return user, fail(requirement.WrongName, "to be known as "+account, user.Username)
	}
	return user, nil
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
