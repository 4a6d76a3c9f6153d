package lab

import (
	"context"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// needed are the verbs that a run uses; a user's cluster is asked for each before anything is made.
var needed = []authorizationv1.ResourceAttributes{
	{Verb: "create", Resource: "namespaces"}, {Verb: "delete", Resource: "namespaces"},
	{Verb: "list", Resource: "nodes"}, {Verb: "get", Resource: "nodes"}, {Verb: "get", Resource: "nodes", Subresource: "proxy"},
	{Verb: "create", Resource: "pods"}, {Verb: "list", Resource: "pods"}, {Verb: "watch", Resource: "pods"},
	{Verb: "delete", Resource: "pods"}, {Verb: "create", Resource: "pods", Subresource: "exec"},
	{Verb: "list", Resource: "events"}, {Verb: "get", Resource: "services"}, {Verb: "create", Resource: "services"},
}

// neededOfHandlers is needed besides by a run under a RuntimeClass.
var neededOfHandlers = authorizationv1.ResourceAttributes{Group: "node.k8s.io", Verb: "get", Resource: "runtimeclasses"}

// whoAmI is the name of this user, "" where the API server does not tell: it is of version 1.28 or later that every user may ask.
func whoAmI(ctx context.Context, kube kubernetes.Interface) string {
	review, err := kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return ""
	}
	return review.Status.UserInfo.Username
}

// rights says which verbs are missing, all at once.
func rights(ctx context.Context, kube kubernetes.Interface, needed []authorizationv1.ResourceAttributes) error {
	var missing []string
	for _, n := range needed {
		review, err := kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &n}}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("asking the cluster for this user's rights: %w", err)
		}
		if !review.Status.Allowed {
			missing = append(missing, strings.TrimSuffix(n.Verb+" "+n.Resource+"/"+n.Subresource, "/"))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("this user lacks the rights to %s; grant them (manifests/rbac/parley.yaml has them all) or name another user's kubeconfig", strings.Join(missing, ", "))
	}
	return nil
}
