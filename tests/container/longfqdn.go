package container

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// refusalWithin bounds the wait for the kubelet's word on a pod that it can't start, or for its start.
const refusalWithin = 30 * time.Second

func fqdnTooLong() requirement.Requirement {
	const short = "a name that fits"
	return requirement.Requirement{
		ID:    "container/hostname-fqdn-too-long",
		Title: "A pod with setHostnameAsFQDN whose fully qualified name has more than 64 characters does not start, and an event says why.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: podHostnamePage,
			Says: "Linux takes hostnames of at most 64 characters: such a pod stays Pending, and events say that its full name could " +
				"not be made from its hostname and the cluster's domain.",
		},
		Why: "Cut off, the name would be another pod's. It shows on the day when a namespace or cluster gets a longer name; " +
			"then the event is all that explains it.",
		PerNode: true,
		Roles:   []world.Role{world.SiblingA},
		Check: func(ctx context.Context, env *requirement.Env) error {
			pod := env.NewPod(env.Role(world.SiblingA).Node, world.Container("a"))
			yes := true
			pod.Spec.Hostname, pod.Spec.Subdomain, pod.Spec.SetHostnameAsFQDN = strings.Repeat("h", world.LongestHostname), world.PodSubdomain, &yes
			if env.Fixture(short) {
				pod.Spec.Hostname = world.PodHostname
			}
			return staysPending(ctx, env, pod)
		},
		Control: requirement.Control{
			Says:    short,
			Variant: &requirement.Variant{Fixture: short},
			Red:     []requirement.Reason{requirement.WrongName},
		},
	}
}

func staysPending(ctx context.Context, env *requirement.Env, pod *corev1.Pod) error {
	pods := env.Kube.CoreV1().Pods(pod.Namespace)
	made, err := requirement.Own(ctx, env, pods, pod, requirement.AtOnce)
	if err != nil {
		return err
	}
	fqdn := env.World.FQDN(pod.Spec.Hostname, pod.Spec.Subdomain)
	fail := func(observed string) error {
		return &requirement.Failure{Reason: requirement.WrongName, Target: made.Namespace + "/" + made.Name, Protocol: "hostname",
			Expected: fmt.Sprintf("no start and an event about the name %s of %d characters", fqdn, len(fqdn)), Observed: observed,
			Again: fmt.Sprintf("kubectl get events -n %s --field-selector involvedObject.name=%s", made.Namespace, made.Name)}
	}
	started := ""
	_, err = until.Settled(ctx, until.Policy{Within: refusalWithin, Every: 200 * time.Millisecond}, func(ctx context.Context) error {
		now, err := pods.Get(ctx, made.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the pod: %w", err)
		}
		if now.Status.Phase != corev1.PodPending {
			started = "a pod that is " + string(now.Status.Phase)
			return nil
		}
		of := fields.OneTermEqualSelector("involvedObject.uid", string(made.UID))
		events, err := env.Kube.CoreV1().Events(made.Namespace).List(ctx, metav1.ListOptions{FieldSelector: of.String()})
		if err != nil {
			return fmt.Errorf("reading the pod's events: %w", err)
		}
		var last []string
		for _, e := range events.Items {
			if strings.Contains(e.Message, "FQDN") && strings.Contains(e.Message, "too long") {
				env.Note("event %s: %s", e.Reason, e.Message)
				return nil
			}
			last = append(last, e.Reason+": "+e.Message)
		}
		return fail("a pod that is Pending, and the events " + fmt.Sprintf("%q", last))
	})
	if err != nil {
		return err
	}
	if started != "" {
		return fail(started)
	}
	return nil
}
