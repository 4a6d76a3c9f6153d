package external

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/tests/internal/controller"
)

// ingressTold bounds the wait for the address in an Ingress's status; some controllers write it once a minute.
const ingressTold = 75 * time.Second

// ingressClass is the class to test: the reference implementation's where it plays, else the cluster's default, else the
// only one that there is.
func ingressClass(ctx context.Context, env *requirement.Env) (*networkingv1.IngressClass, error) {
	if referencePlays(env, world.ReferenceIngress) {
		return env.World.IngressClass(), nil
	}
	classes, err := env.Kube.NetworkingV1().IngressClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the IngressClasses: %w", err)
	}
	var rest []*networkingv1.IngressClass
	var names []string
	for i := range classes.Items {
		c := &classes.Items[i]
		if c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true" {
			return c, nil
		}
		if c.Spec.Controller != world.ReferenceController {
			rest, names = append(rest, c), append(names, c.Name)
		}
	}
	switch len(names) {
	case 0:
		return nil, &requirement.Unsupported{Probed: "the cluster has no IngressClass"}
	case 1:
		return rest[0], nil
	}
	return nil, &requirement.Unsupported{Probed: "none of the cluster's IngressClasses is the default: " + strings.Join(names, ", ")}
}

// publish makes an Ingress and waits for the address of the family in force in its status.
func publish(ctx context.Context, env *requirement.Env, spec networkingv1.IngressSpec) (netip.Addr, error) {
	class, err := ingressClass(ctx, env)
	if err != nil {
		return netip.Addr{}, err
	}
	spec.IngressClassName = &class.Name
	objects := env.Kube.NetworkingV1().Ingresses(env.Namespace())
	made, err := requirement.Own(ctx, env, objects, &networkingv1.Ingress{ObjectMeta: env.ObjectMeta("ingress-"), Spec: spec})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("of class %s: %w", class.Name, err)
	}
	var told []string
	var at netip.Addr
	_, err = until.Settled(ctx, until.Policy{Within: ingressTold}, func(ctx context.Context) error {
		now, err := objects.Get(ctx, made.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		told = nil
		for _, i := range now.Status.LoadBalancer.Ingress {
			told = append(told, i.IP+i.Hostname)
			for _, ip := range addressesOf(ctx, i.IP, i.Hostname) {
				if ip.Is4() == (env.Family == corev1.IPv4Protocol) && !at.IsValid() {
					at = ip
				}
			}
		}
		if len(told) == 0 {
			return errors.New("its status has no address after " + ingressTold.String())
		}
		return nil
	})
	switch {
	case err != nil:
		return at, noIngressAddress(ctx, env, made, class, err)
	case !at.IsValid():
		return at, &requirement.Unsupported{Probed: fmt.Sprintf("the status of an Ingress of class %s has no address of %s: %v", class.Name, env.Family, told)}
	}
	return at, reachedAt(ctx, env, at, webPort)
}

// noIngressAddress judges an Ingress that got no address, as seen says: one whose class somebody serves should have had one.
func noIngressAddress(ctx context.Context, env *requirement.Env, made *networkingv1.Ingress, class *networkingv1.IngressClass, seen error) error {
	claim, err := controller.OfIngress(ctx, env.Kube, made, class)
	if err != nil {
		return err
	}
	observed := fmt.Sprintf("%s; class %s is served by %s, and %s", seen, class.Name, class.Spec.Controller, claim)
	if !claim.Claimed() && !referencePlays(env, world.ReferenceIngress) {
		return &requirement.Unsupported{Probed: "made an Ingress: " + observed + ", and no pod named after it is found"}
	}
	return &requirement.Failure{Reason: requirement.Missing, Target: "Ingress " + made.Name, Protocol: "API",
		Expected: "an address in the status of an Ingress", Observed: observed, Again: "kubectl describe ingress -n " + made.Namespace + " " + made.Name}
}

// rule leads a host's paths to Services' port 80.
func rule(host string, paths ...networkingv1.HTTPIngressPath) networkingv1.IngressRule {
	return networkingv1.IngressRule{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: paths}}}
}

func leads(kind networkingv1.PathType, path, service string) networkingv1.HTTPIngressPath {
	return networkingv1.HTTPIngressPath{Path: path, PathType: &kind, Backend: toService(service)}
}

func toService(name string) networkingv1.IngressBackend {
	return networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: name, Port: networkingv1.ServiceBackendPort{Number: webPort}}}
}

// aim is a request and where it must go; nil is nowhere.
type aim struct {
	host, path string
	to         *backend
}

// visits makes each request once the first is answered at all.
func visits(ctx context.Context, env *requirement.Env, at netip.Addr, all []aim, why string) error {
	for i, a := range all {
		v := visit{at: at, host: a.host, path: a.path}
		if i == 0 {
			if err := v.comeIn(ctx, env); err != nil {
				return err
			}
		}
		err := v.reachesNoneOr(ctx, env, a.to, why)
		if err != nil {
			return err
		}
	}
	return nil
}

func (v visit) reachesNoneOr(ctx context.Context, env *requirement.Env, to *backend, why string) error {
	if to == nil {
		return v.reachesNone(ctx, env, why)
	}
	return v.reaches(ctx, env, *to)
}
