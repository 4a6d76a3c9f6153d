package external

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

var proxied = requirement.Clause{
	URL: "https://github.com/kubernetes/kubernetes/blob/v1.36.3/test/e2e/network/proxy.go#L432",
	Says: "Conformance: the proxy subresources of a pod and of a Service pass each HTTP method and the path on to the server behind and give its " +
		"answer back.",
}

func apiProxies() []requirement.Requirement {
	return []requirement.Requirement{
		{
			ID:     "external/api-proxy",
			Title:  "The API server's pods/proxy reaches an HTTP server in a pod on every node and passes path and query on.",
			Level:  requirement.Must,
			Clause: proxied,
			Why: "Dashboards, metrics adapters and people with no way into the pod network read from pods so. It takes a route from the control " +
				"plane to every pod, which isolated control planes lack.",
			Roles: []world.Role{world.Everywhere},
			Check: func(ctx context.Context, env *requirement.Env) error {
				for _, server := range env.Roles(world.Everywhere) {
					close, err := serveHTTP(ctx, env, server)
					if err != nil {
						return err
					}
					err = proxiedTo(ctx, env, server, "pods", server.Pod+":"+strconv.Itoa(env.Port(0)))
					close()
					if err != nil {
						return err
					}
				}
				return nil
			},
			Control: requirement.Control{
				Says:    "the server on another port than the one asked for",
				Variant: &requirement.Variant{Fixture: closedPort},
				Red:     []requirement.Reason{requirement.Refused, requirement.NoAnswer},
			},
			MoreControls: []requirement.Control{askedWithoutQuery()},
		},
		{
			ID:     "external/api-proxy-service",
			Title:  "The API server's services/proxy reaches an HTTP server behind a Service, by the name of its port.",
			Level:  requirement.Must,
			Clause: proxied,
			Why: "The API server chooses a ready endpoint itself and dials its pod IP: the Service's virtual IP and the node's proxy are " +
				"not on this path, which is why it may work where the Service does not, and the other way round.",
			OneNode: "external/api-proxy has the API server reach a pod on every node; here the Service is what is added",
			Roles:   []world.Role{world.WebNear},
			Check:   checkServiceProxy,
			Control: requirement.Control{
				Says:    "the server on the target of the Service's other port",
				Variant: &requirement.Variant{Fixture: closedPort},
				Red:     []requirement.Reason{requirement.Refused, requirement.NoAnswer},
			},
			MoreControls: []requirement.Control{askedWithoutQuery()},
		},
	}
}

// withoutQuery is the variant that asks for the path alone.
const withoutQuery = "without-query"

// askedWithoutQuery is the control of what the proxy passes on: one is enough, since the server's word of path and query is judged as one.
func askedWithoutQuery() requirement.Control {
	return requirement.Control{
		Says:    "the query left out of what is asked for",
		Variant: &requirement.Variant{Fixture: withoutQuery},
		Red:     []requirement.Reason{requirement.Broken},
	}
}

func checkServiceProxy(ctx context.Context, env *requirement.Env) error {
	server := env.Role(world.WebNear)
	close, err := serveHTTP(ctx, env, server)
	if err != nil {
		return err
	}
	defer close()
	// Where the name of the port is not followed the first one is taken, at which nobody listens.
	service, err := makeService(ctx, env, env.World.NewService("api-proxy", "nodeport",
		corev1.ServicePort{Name: "closed", Protocol: corev1.ProtocolTCP, Port: world.ServicePort, TargetPort: intstr.FromInt(env.Port(1))},
		corev1.ServicePort{Name: "http", Protocol: corev1.ProtocolTCP, Port: world.ServicePort + 1, TargetPort: intstr.FromInt(env.Port(0))}))
	if err != nil {
		return fmt.Errorf("making a Service: %w", err)
	}
	if err := backed(ctx, env, service); err != nil {
		return err
	}
	return proxiedTo(ctx, env, server, "services", service.Name+":http")
}

// serveHTTP opens an HTTP server at the requirement's first port, or at the next under the variant.
func serveHTTP(ctx context.Context, env *requirement.Env, server *requirement.End) (close func(), err error) {
	port := env.Port(0)
	if env.Fixture(closedPort) {
		port = env.Port(1)
	}
	opened, err := server.Listen(ctx, wire.Listen{Network: "http", Address: fmt.Sprintf(":%d", port)})
	if err == nil && !opened.Ok() {
		err = errors.New(opened.Errno.String())
	}
	if err != nil {
		return nil, fmt.Errorf("opening an HTTP server in %s: %w", server, err)
	}
	return func() { exchange.Release(ctx, server, opened.Handle) }, nil
}

const (
	// proxyAnswer bounds one request through the API server, whose own dial to a pod that is silent takes 30 s.
	proxyAnswer = 4 * time.Second
	// endpointsKnown bounds the time until a new Service's EndpointSlice has an endpoint; milliseconds are usual.
	endpointsKnown = 10 * time.Second
)

// proxiedTo asks for a path of the resource's proxy, which the server should answer.
func proxiedTo(ctx context.Context, env *requirement.Env, server *requirement.End, resource, name string) error {
	return env.Until(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, proxyAnswer)
		defer cancel()
		request := env.Kube.CoreV1().RESTClient().Get().Namespace(server.Namespace).Resource(resource).Name(name).
			SubResource("proxy").Suffix("some/path")
		if !env.Fixture(withoutQuery) {
			request = request.Param("query", "kept")
		}
		body, err := request.DoRaw(ctx)
		return judgeProxied(server, request.URL().RequestURI(), body, err)
	})
}

func judgeProxied(server *requirement.End, path string, body []byte, err error) error {
	failure := &requirement.Failure{To: server, Target: path, Protocol: "http through the API server",
		Expected: "an answer by " + server.Pod + " to GET /some/path?query=kept", Again: "kubectl get --raw '" + path + "'"}
	if err != nil {
		failure.Observed = strings.TrimSpace(err.Error() + " " + string(body))
		switch text := failure.Observed; {
		case strings.Contains(text, "connection refused"):
			failure.Reason = requirement.Refused
		case errors.Is(err, context.DeadlineExceeded), strings.Contains(text, "i/o timeout"):
			failure.Reason = requirement.NoAnswer
		case strings.Contains(text, "no route to host"), strings.Contains(text, "unreachable"):
			failure.Reason = requirement.Unreachable
		default:
			failure.Reason = requirement.Broken
		}
		return failure
	}
	var saw wire.Witness
	switch err := json.Unmarshal(body, &saw); {
	case err != nil:
		failure.Reason, failure.Observed = requirement.WrongServer, fmt.Sprintf("%.200q", body)
	case saw.Who != server.Pod:
		failure.Reason, failure.Observed = requirement.WrongPeer, "an answer by "+saw.Who
	case saw.Path != "/some/path?query=kept":
		failure.Reason, failure.Observed = requirement.Broken, "the server asked for "+saw.Path
	default:
		return nil
	}
	return failure
}

// backed waits until the Service's EndpointSlices have a ready endpoint: before that every proxy rightly refuses.
func backed(ctx context.Context, env *requirement.Env, service *corev1.Service) error {
	_, err := until.Settled(ctx, until.Policy{Within: endpointsKnown}, func(ctx context.Context) error {
		found, err := env.Kube.DiscoveryV1().EndpointSlices(service.Namespace).List(ctx, metav1.ListOptions{
			LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
		if err != nil {
			return err
		}
		for _, slice := range found.Items {
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
					return nil
				}
			}
		}
		return errors.New("no ready endpoint")
	})
	if err != nil {
		return fmt.Errorf("waiting for the endpoints of the new Service %s: %w", service.Name, err)
	}
	return nil
}
