package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/tests/internal/authority"
)

const (
	// webhookTimeout is what the API server is told to wait, in seconds: the least that it takes.
	webhookTimeout = 1
	// webhookKnown bounds the time until the API server has taken up a new webhook; a second is usual. Until then
	// objects are let through at once.
	webhookKnown = 8 * time.Second
)

func apiToPodWebhook() requirement.Requirement {
	return requirement.Requirement{
		ID:    "node/api-to-pod-webhook",
		Title: "The API server asks an admission webhook that a pod serves behind a Service, over TLS, and takes its answer.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#service-reference",
			Says: "A webhook may run within the cluster behind a Service; the API server calls it there, and verifies that its certificate " +
				"is for service.namespace.svc and leads to the caBundle.",
		},
		Why: "It is the one connection from the control plane into the pod network, and control planes outside of that network often have no " +
			"route into it. Policies and injectors then fail open in silence, or block every change.",
		OneNode:       "the API server asks one Service; that it reaches pods on every node is judged by external/api-proxy",
		Roles:         []world.Role{world.WebNear},
		Services:      []world.Service{world.Webhook},
		ClusterScoped: "a ValidatingWebhookConfiguration for ConfigMaps of its own in its own namespace",
		Check:         webhookAsked,
		Control: requirement.Control{
			Says: "what goes to the webhook dropped in its pod",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.WebNear, func(context.Context, *requirement.Env) ([]wire.Rule, error) {
					return []wire.Rule{{Hook: "input", Priority: fault.BeforeAll, Proto: "tcp", ToPort: world.WebhookPort, Do: "drop"}}, nil
				}),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func webhookAsked(ctx context.Context, env *requirement.Env) error {
	server, service, mark := env.Role(world.WebNear), env.Service(world.Webhook), rand.String(12)
	name := service.Name + "." + service.Namespace + ".svc"
	ca, err := authority.New()
	if err != nil {
		return err
	}
	cert, key, err := ca.Issue(name)
	if err != nil {
		return err
	}
	listening, err := server.Listen(ctx, wire.Listen{Network: "http", Address: fmt.Sprintf(":%d", world.WebhookPort), Behave: "deny", Cert: cert, Key: key})
	if err != nil {
		return fmt.Errorf("opening a webhook in %s: %w", server, err)
	}
	if !listening.Ok() {
		return fmt.Errorf("%s cannot open a webhook: %s", server, listening.Errno)
	}
	defer exchange.Release(ctx, server, listening.Handle)
	if err := registerWebhook(ctx, env, service, ca.Certificate, mark); err != nil {
		return err
	}

	var verdict error
	start := time.Now()
	seen, err := until.Settled(ctx, until.Policy{Within: max(webhookKnown, env.Patience)}, func(ctx context.Context) error {
		verdict = askedOnce(ctx, env, server, name, mark)
		f := requirement.AsFailure(verdict)
		if f == nil || f.Reason != requirement.NotAsked && time.Since(start) >= env.Patience {
			return nil
		}
		return f
	})
	if err != nil && verdict == nil {
		return err
	}
	if f := requirement.AsFailure(verdict); f != nil {
		f.Attempts, f.Took = seen.Attempts, seen.Took
	}
	return verdict
}

// askedOnce asks for an object that is not kept: a dry run passes admission too.
func askedOnce(ctx context.Context, env *requirement.Env, server *requirement.End, webhook, mark string) error {
	meta := env.ObjectMeta("webhook-")
	meta.Labels[webhookLabel] = mark
	start := time.Now()
	_, err := env.Kube.CoreV1().ConfigMaps(meta.Namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	took := time.Since(start)
	fail := func(reason requirement.Reason, observed string) error {
		return &requirement.Failure{Reason: reason, To: server, Target: "https://" + webhook + ":443/", Protocol: "https from the API server",
			Expected: "the API server to refuse an object in the webhook's words", Observed: observed,
			Again: fmt.Sprintf("kubectl get validatingwebhookconfiguration; kubectl create configmap x -n %s --dry-run=server", env.Namespace())}
	}
	switch {
	case err == nil && took >= webhookTimeout*time.Second:
		return fail(requirement.NoAnswer, fmt.Sprintf("the object let through after %s, when the webhook had not answered for %d s",
			took.Round(10*time.Millisecond), webhookTimeout))
	case err == nil:
		return fail(requirement.NotAsked, fmt.Sprintf("the object let through after %s: the webhook was not asked, or refused the connection",
			took.Round(time.Millisecond)))
	case ctx.Err() != nil || !strings.Contains(err.Error(), "admission webhook"):
		return fmt.Errorf("asking the API server for an object in a dry run: %w", err)
	case !strings.Contains(err.Error(), "asked of "+server.Pod):
		return fail(requirement.WrongPeer, err.Error())
	}
	return nil
}

// webhookLabel marks the objects of one check: no other's are sent to its webhook.
const webhookLabel = "parley.dev/webhook"

// registerWebhook has the API server ask for ConfigMaps with the mark in the run's own namespace and nowhere else.
// What it can't ask it lets through, so that nothing of anybody's ever waits on a run.
func registerWebhook(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen, ca []byte, mark string) error {
	ignore, none, at, timeout := admissionv1.Ignore, admissionv1.SideEffectClassNone, int32(world.WebhookServicePort), int32(webhookTimeout)
	configurations := env.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := requirement.Own(ctx, env, configurations, &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: env.World.Prefix + "-" + mark, Labels: env.Labels()},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: mark + ".parley.dev",
			ClientConfig: admissionv1.WebhookClientConfig{CABundle: ca,
				Service: &admissionv1.ServiceReference{Namespace: service.Namespace, Name: service.Name, Port: &at}},
			Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}}}},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: env.Namespace()}},
			ObjectSelector:          &metav1.LabelSelector{MatchLabels: map[string]string{webhookLabel: mark}},
			FailurePolicy:           &ignore,
			SideEffects:             &none,
			TimeoutSeconds:          &timeout,
			AdmissionReviewVersions: []string{"v1"},
		}},
	})
	return err
}
