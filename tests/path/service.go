package path

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

// settleWithin bounds the wait for the proxies to take up the Service that a check has made; under a control too, which is not about
// that.
const settleWithin = 10 * time.Second

// ownService makes a Service of the family in force before the endpoints of Web, whose port leads to the one given, and waits until every
// node's pod has connected to it: they are the routes that come back.
func ownService(ctx context.Context, env *requirement.Env, target int) ([]route, error) {
	made, err := serviceOf(ctx, env, env.Service(world.Web).Spec.Selector, target)
	if err != nil {
		return nil, err
	}
	routes := toService(env, made, env.Roles(world.WebNear, world.WebFar))
	return routes, sideBySide(ctx, routes, func(ctx context.Context, r route) error { return connects(ctx, env, r) })
}

// serviceOf makes a Service of the family in force before the pods that the selector finds.
func serviceOf(ctx context.Context, env *requirement.Env, selector map[string]string, target int) (requirement.ServiceSeen, error) {
	meta := env.ObjectMeta("")
	policy := corev1.IPFamilyPolicySingleStack
	made, err := requirement.Own(ctx, env, env.Kube.CoreV1().Services(meta.Namespace), &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		Selector: selector, IPFamilyPolicy: &policy, IPFamilies: []corev1.IPFamily{env.Family},
		Ports: []corev1.ServicePort{{Name: "tcp", Protocol: corev1.ProtocolTCP, Port: world.ServicePort, TargetPort: intstr.FromInt(target)}},
	}})
	return requirement.ServiceSeen{Service: made}, err
}

// connects waits until the route's client has connected to the Service.
func connects(ctx context.Context, env *requirement.Env, r route) error {
	return knocks(ctx, env, r, true, "a connection to a Service that was made just now")
}

// refuses waits until the route's client connects to the Service no longer, however it is turned away.
func refuses(ctx context.Context, env *requirement.Env, r route) error {
	return knocks(ctx, env, r, false, "no connection to a Service that has lost its endpoints")
}

// knocks waits until the route's client connects from any port, or does not.
func knocks(ctx context.Context, env *requirement.Env, r route, connects bool, expected string) error {
	at := requirement.At(r.ip, world.ServicePort)
	_, err := requirement.Settles(ctx, until.Policy{Within: max(settleWithin, env.Patience)}, func(ctx context.Context) error {
		got, err := r.from.Connect(ctx, wire.Connect{Network: "tcp", Address: at, Knock: true, Timeout: int(env.Attempt.Milliseconds())})
		if err != nil {
			return fmt.Errorf("asking %s to dial %s: %w", r.from, at, err)
		}
		seen := got.Seen[0]
		if seen.Ok() == connects {
			return nil
		}
		f := &requirement.Failure{Reason: requirement.Answered, From: r.from, Behind: r.back, Target: at, Protocol: "tcp", Expected: expected, Observed: "a connection"}
		if connects {
			f.Reason, f.Observed = requirement.ReasonOf(seen.Errno), seen.Errno.String()
		}
		return f
	})
	return err
}
