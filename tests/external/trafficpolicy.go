package external

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

func trafficPolicyLocal() requirement.Requirement {
	return requirement.Requirement{
		ID: "external/traffic-policy-local",
		Title: "With externalTrafficPolicy Local, the endpoint sees the own address of a client outside the cluster that comes through its node, " +
			"and nodes without an endpoint do not answer.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/tutorials/services/source-ip/#source-ip-for-services-with-type-nodeport",
			Says: "With externalTrafficPolicy Local a node passes requests to its own endpoints only and keeps the client's source address; " +
				"where it has none, packets sent to it are dropped.",
		},
		Why: "Allow-lists, rate limits and logs need the client's address. It is kept only because the packet never leaves the node, which is " +
			"why the other nodes must stay silent: one that forwards all the same must translate the source. Five attempts in a row are not " +
			"answered there, each beside one to a node port of the other policy that is.",
		Needs:     []requirement.Feature{requirement.OutsideHost},
		Roles:     []world.Role{world.Outside, world.WebNear},
		Wants:     []world.Role{world.Node},
		Services:  []world.Service{world.NodePortLocal, world.NodePortCluster},
		PerFamily: true,
		Check:     checkTrafficPolicyLocal,
		Control: requirement.Control{
			Says:    "the same Service with externalTrafficPolicy Cluster",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.NodePortLocal: world.NodePortCluster}},
			Red:     []requirement.Reason{requirement.Translated, requirement.Answered},
		},
	}
}

func checkTrafficPolicyLocal(ctx context.Context, env *requirement.Env) error {
	nodes, err := reached(ctx, env, "tcp", nodePort(env, world.NodePortCluster, "tcp"))
	if err != nil {
		return err
	}
	server := env.Role(world.WebNear)
	here, others, err := split(env, nodes, server.Node)
	if err != nil {
		return err
	}
	client := here.from
	talk := exchange.Talk{From: client, To: server, Network: "tcp", Dial: requirement.At(here.ip, nodePort(env, world.NodePortLocal, "tcp"))}
	seen, err := exchange.Works(ctx, env, talk)
	if err != nil {
		return through(err, here.name)
	}
	expected := asSeenBy(ctx, env, client, here, exchange.Addr(seen.Local))
	if from := exchange.Addr(seen.Witness.Remote); from != expected {
		return &requirement.Failure{Reason: requirement.Translated, From: client, To: server, Target: talk.Dial, Protocol: "tcp",
			Expected: fmt.Sprintf("the endpoint to see the client's address %s", expected), Observed: "the client as " + from.String()}
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, node := range others {
		group.Go(func() error {
			// That the node can be reached, and the client be heard through it, is seen by the other policy.
			heard := exchange.Talk{From: node.from, To: server, Network: "tcp", Dial: requirement.At(node.ip, nodePort(env, world.NodePortCluster, "tcp"))}
			if _, err := exchange.Works(groupCtx, env, heard); err != nil {
				return through(err, node.name)
			}
			_, err := exchange.Silent(groupCtx, env, exchange.Talk{From: node.from, Network: "tcp",
				Dial: requirement.At(node.ip, nodePort(env, world.NodePortLocal, "tcp"))}, heard, "a node without an endpoint")
			return err
		})
	}
	return group.Wait()
}

func healthCheckNodePort() requirement.Requirement {
	return requirement.Requirement{
		ID:    "external/health-check-nodeport",
		Title: "A Service's healthCheckNodePort answers a host outside the cluster by 200 on the node that has an endpoint and by 503 on the others.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/#ServiceSpec",
			Says: "healthCheckNodePort is there for type LoadBalancer with externalTrafficPolicy Local: external systems use it to determine " +
				"whether a node holds endpoints for the Service or not.",
		},
		Why: "It is all that an external load balancer knows of where the endpoints are. A node that says 200 without one swallows its share of " +
			"the connections; one that says 503 with one is a pod that nobody reaches. Host firewalls often forget this port.",
		Needs:     []requirement.Feature{requirement.OutsideHost},
		Roles:     []world.Role{world.Outside, world.WebNear},
		Wants:     []world.Role{world.Node},
		Services:  []world.Service{world.HealthChecked, world.HealthUnbacked},
		PerFamily: true,
		Check:     checkHealthCheckNodePort,
		Control: requirement.Control{
			Says:    "the same Service without an endpoint on that node",
			Variant: &requirement.Variant{Services: map[world.Service]world.Service{world.HealthChecked: world.HealthUnbacked}},
			Red:     []requirement.Reason{requirement.WrongAnswer},
		},
		MoreControls: []requirement.Control{{
			Says:    "the same Service with an endpoint on the other nodes as well, by a hand-written EndpointSlice",
			Variant: &requirement.Variant{Fixture: endpointElsewhere, Given: hasOtherNodes},
			Red:     []requirement.Reason{requirement.WrongAnswer},
		}},
	}
}

func checkHealthCheckNodePort(ctx context.Context, env *requirement.Env) error {
	service := env.Service(world.HealthChecked)
	if env.Fixture(endpointElsewhere) {
		made, err := healthyElsewhere(ctx, env, service)
		if err != nil {
			return err
		}
		service.Service = made
	}
	port := int(service.Spec.HealthCheckNodePort)
	if port == 0 {
		return &requirement.Failure{Reason: requirement.Missing, Target: "Service " + service.Name, Protocol: "API",
			Expected: "a healthCheckNodePort on a Service of type LoadBalancer with externalTrafficPolicy Local", Observed: "none"}
	}
	nodes, err := reached(ctx, env, "tcp", port)
	if err != nil {
		return err
	}
	here, others, err := split(env, nodes, env.Role(world.WebNear).Node)
	if err != nil {
		return err
	}
	if err := saysHealthy(ctx, env, here, port, http.StatusOK); err != nil {
		return err
	}
	for _, node := range others {
		if err := saysHealthy(ctx, env, node, port, http.StatusServiceUnavailable); err != nil {
			return err
		}
	}
	return nil
}

// saysHealthy says whether the node's health check answers with the status that is due.
func saysHealthy(ctx context.Context, env *requirement.Env, node machine, port, status int) error {
	client := node.from
	url := "http://" + requirement.At(node.ip, port) + "/healthz"
	return env.Until(ctx, func(ctx context.Context) error {
		got, err := client.HTTP(ctx, wire.HTTP{URL: url, Timeout: int(env.Attempt / time.Millisecond)})
		if err != nil {
			return fmt.Errorf("asking %s to get %s: %w", client, url, err)
		}
		failure := &requirement.Failure{From: client, Target: url, Protocol: "http",
			Expected: fmt.Sprintf("status %d from node %s", status, node.name), Observed: got.Errno.String()}
		switch {
		case !got.Ok():
			failure.Reason = requirement.ReasonOf(got.Errno)
			return failure
		case got.Status != status:
			failure.Reason, failure.Observed = requirement.WrongAnswer, fmt.Sprintf("status %d%s", got.Status, endpointsTold(got.Body))
			return failure
		}
		return nil
	})
}

// endpointsTold is what kube-proxy says of itself in the body of a health check; other proxies say nothing of the kind.
func endpointsTold(body string) string {
	var told struct {
		LocalEndpoints      *int  `json:"localEndpoints"`
		ServiceProxyHealthy *bool `json:"serviceProxyHealthy"`
	}
	if json.Unmarshal([]byte(body), &told) != nil || told.LocalEndpoints == nil {
		return ""
	}
	text := fmt.Sprintf(", local endpoints %d", *told.LocalEndpoints)
	if told.ServiceProxyHealthy != nil && !*told.ServiceProxyHealthy {
		text += ", the proxy itself not healthy"
	}
	return text
}
