package external

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gateway "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/tests/internal/controller"
)

const (
	detached = "detached"
	// gatewayTold bounds the wait until a Gateway is programmed, for which an implementation may start a proxy first.
	gatewayTold = 75 * time.Second
)

func gatewayHTTPRoute() requirement.Requirement {
	return requirement.Requirement{
		ID: "external/gateway-http-route",
		Title: "An HTTPRoute that is attached to a Gateway sends a host outside the cluster to its backends, by host, path prefix and header, and " +
			"other requests to none.",
		Level: requirement.Optional,
		Clause: requirement.Clause{
			URL: "https://gateway-api.sigs.k8s.io/reference/spec/#httproute",
			Says: "Rules of an HTTPRoute match by host, path, header and method, the most specific first, and forward to their backends; a route takes " +
				"effect on the Gateways that it names as parents and that accept it, at the addresses in their status.",
		},
		Why: "It is the successor of Ingress. Each side must name the other rightly (class, parent, listener, host) before one packet flows, " +
			"and a route that is attached to nothing is no error anywhere but in its status.",
		Needs:     []requirement.Feature{requirement.OutsideHost},
		Roles:     []world.Role{world.Outside, world.WebNear, world.SiblingA},
		Wants:     append(slices.Clone(world.ReferenceRoles), world.Node),
		PerFamily: true,
		Check:     checkGatewayHTTPRoute,
		Control: requirement.Control{
			Says:    "the route names another Gateway as its parent",
			Variant: &requirement.Variant{Fixture: detached},
			Red:     []requirement.Reason{requirement.WrongAnswer, requirement.NoAnswer, requirement.Refused, requirement.Broken},
		},
	}
}

func checkGatewayHTTPRoute(ctx context.Context, env *requirement.Env) error {
	client, err := gateway.NewForConfig(env.Config)
	if err != nil {
		return fmt.Errorf("making a client of Gateway API: %w", err)
	}
	class, err := gatewayClass(ctx, env, client)
	if err != nil {
		return err
	}
	s, err := openSites(ctx, env)
	if err != nil {
		return err
	}
	made, at, err := openGateway(ctx, env, client, class, s.host)
	if err != nil {
		return err
	}
	parent := made.Name
	if env.Fixture(detached) {
		parent += "-of-another"
	}
	if err := attach(ctx, env, client, httpRoute(env, parent, s)); err != nil {
		return err
	}
	v := visit{at: at, host: s.host, path: "/first/x"}
	if !env.Fixture(detached) {
		if err := v.comeIn(ctx, env); err != nil {
			return err
		}
	}
	if err := v.reaches(ctx, env, s.first); err != nil {
		return err
	}
	for _, v := range []visit{{at: at, host: s.host, path: "/second"}, {at: at, host: s.host, path: "/first", header: map[string]string{"X-Site": "second"}}} {
		if err := v.reaches(ctx, env, s.second); err != nil {
			return err
		}
	}
	for _, v := range []visit{{at: at, host: s.host, path: "/other"}, {at: at, host: "other-" + s.host, path: "/first"}} {
		if err := v.reachesNone(ctx, env, "since no route is for it"); err != nil {
			return err
		}
	}
	return nil
}

// gatewayClass is the class to test: the reference implementation's where it plays, else the only accepted one.
func gatewayClass(ctx context.Context, env *requirement.Env, client gateway.Interface) (string, error) {
	switch _, err := env.Kube.Discovery().ServerResourcesForGroupVersion(gatewayv1.GroupVersion.String()); {
	case apierrors.IsNotFound(err):
		return "", &requirement.Unsupported{Probed: "the API server does not serve " + gatewayv1.GroupVersion.String() + ": " + err.Error()}
	case err != nil:
		return "", fmt.Errorf("asking the API server for %s: %w", gatewayv1.GroupVersion, err)
	}
	if referencePlays(env, world.ReferenceIngress) {
		return env.World.ClassName(), nil
	}
	classes, err := client.GatewayV1().GatewayClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("listing the GatewayClasses: %w", err)
	}
	var names, refused []string
	for _, c := range classes.Items {
		accepted := meta.FindStatusCondition(c.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusAccepted))
		if accepted != nil && accepted.Status == metav1.ConditionFalse {
			refused = append(refused, fmt.Sprintf("%s: %s", c.Name, strings.Join(controller.Conditions(c.Status.Conditions), "; ")))
		}
		if meta.IsStatusConditionTrue(c.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusAccepted)) {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 && len(refused) > 0 {
		return "", &requirement.Failure{Reason: requirement.Missing, Target: "GatewayClasses", Protocol: "API", Expected: "a GatewayClass that its controller accepts",
			Observed: strings.Join(refused, "; "), Again: "kubectl describe gatewayclasses"}
	}
	if len(names) != 1 {
		return "", &requirement.Unsupported{Probed: fmt.Sprintf("of %d GatewayClasses one accepted by its controller is needed, and these are: %q",
			len(classes.Items), strings.Join(names, ", "))}
	}
	return names[0], nil
}

// openGateway makes a Gateway with an HTTP listener for the host and waits until it is programmed with an address of the
// family in force.
func openGateway(ctx context.Context, env *requirement.Env, client gateway.Interface, class, host string) (*gatewayv1.Gateway, netip.Addr, error) {
	gateways := client.GatewayV1().Gateways(env.Namespace())
	hostname := gatewayv1.Hostname(host)
	made, err := requirement.Own(ctx, env, gateways, &gatewayv1.Gateway{
		ObjectMeta: env.ObjectMeta("gateway-"),
		Spec: gatewayv1.GatewaySpec{GatewayClassName: gatewayv1.ObjectName(class), Listeners: []gatewayv1.Listener{
			{Name: "http", Protocol: gatewayv1.HTTPProtocolType, Port: webPort, Hostname: &hostname}}},
	})
	if err != nil {
		return nil, netip.Addr{}, fmt.Errorf("of class %s: %w", class, err)
	}
	var at netip.Addr
	var told []string
	_, err = until.Settled(ctx, until.Policy{Within: gatewayTold}, func(ctx context.Context) error {
		now, err := gateways.Get(ctx, made.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(now.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed)) {
			return fmt.Errorf("it is not programmed after %s; its controller says: %s", gatewayTold, strings.Join(controller.Conditions(now.Status.Conditions), "; "))
		}
		told = nil
		for _, a := range now.Status.Addresses {
			told = append(told, a.Value)
			ip, name := a.Value, ""
			if a.Type != nil && *a.Type == gatewayv1.HostnameAddressType {
				ip, name = "", a.Value
			}
			for _, ip := range addressesOf(ctx, ip, name) {
				if ip.Is4() == (env.Family == corev1.IPv4Protocol) && !at.IsValid() {
					at = ip
				}
			}
		}
		return nil
	})
	switch {
	case err != nil: // its class is accepted: somebody serves it
		return nil, at, &requirement.Failure{Reason: requirement.Missing, Target: "Gateway " + made.Name, Protocol: "API",
			Expected: "a Gateway of class " + class + " programmed with an address", Observed: err.Error(),
			Again: "kubectl describe gateway -n " + made.Namespace + " " + made.Name}
	case !at.IsValid():
		return nil, at, &requirement.Unsupported{Probed: fmt.Sprintf("the status of a Gateway of class %s has no address of %s: %v", class, env.Family, told)}
	}
	return made, at, reachedAt(ctx, env, at, webPort)
}

// httpRoute leads /first to the first site and /second to the second; with a header /first leads to the second too.
func httpRoute(env *requirement.Env, parent string, s *sites) *gatewayv1.HTTPRoute {
	prefix, exact := gatewayv1.PathMatchPathPrefix, gatewayv1.HeaderMatchExact
	path := func(value string) *gatewayv1.HTTPPathMatch {
		return &gatewayv1.HTTPPathMatch{Type: &prefix, Value: &value}
	}
	to := func(b backend) []gatewayv1.HTTPBackendRef {
		port := gatewayv1.PortNumber(webPort)
		return []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{BackendObjectReference: gatewayv1.BackendObjectReference{
			Name: gatewayv1.ObjectName(b.service), Port: &port}}}}
	}
	return &gatewayv1.HTTPRoute{
		ObjectMeta: env.ObjectMeta("route-"),
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{Name: gatewayv1.ObjectName(parent)}}},
			Hostnames:       []gatewayv1.Hostname{gatewayv1.Hostname(s.host)},
			Rules: []gatewayv1.HTTPRouteRule{
				{Matches: []gatewayv1.HTTPRouteMatch{{Path: path("/first")}}, BackendRefs: to(s.first)},
				{Matches: []gatewayv1.HTTPRouteMatch{
					{Path: path("/second")},
					{Path: path("/first"), Headers: []gatewayv1.HTTPHeaderMatch{{Type: &exact, Name: "X-Site", Value: "second"}}},
				}, BackendRefs: to(s.second)},
			},
		},
	}
}

// attach makes the route and, where it has a parent, waits until that accepts it.
func attach(ctx context.Context, env *requirement.Env, client gateway.Interface, route *gatewayv1.HTTPRoute) error {
	routes := client.GatewayV1().HTTPRoutes(route.Namespace)
	made, err := requirement.Own(ctx, env, routes, route)
	if err != nil {
		return err
	}
	if env.Fixture(detached) {
		return nil
	}
	return env.Until(ctx, func(ctx context.Context) error {
		now, err := routes.Get(ctx, made.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the HTTPRoute %s: %w", made.Name, err)
		}
		for _, p := range now.Status.Parents {
			if meta.IsStatusConditionTrue(p.Conditions, string(gatewayv1.RouteConditionAccepted)) {
				return nil
			}
		}
		return &requirement.Failure{Reason: requirement.Missing, Target: "HTTPRoute " + made.Name, Protocol: "API",
			Expected: "the condition Accepted by the Gateway that it names", Observed: fmt.Sprintf("%d parents in its status, none of which accepts it", len(now.Status.Parents))}
	})
}
