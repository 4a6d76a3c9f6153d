package node

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// proxyHealthPort and proxyMetricsPort are kube-proxy's healthzBindAddress and metricsBindAddress:
	// https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/
	proxyHealthPort  = 10256
	proxyMetricsPort = 10249
	// proxyHeld bounds the hold: one attempt, and a little more.
	proxyHeld = 10 * time.Second
)

func serviceProxy() requirement.Requirement {
	return requirement.Requirement{
		ID:    "node/service-proxy",
		Title: "The service proxy of every node says that it is healthy, at /healthz of port 10256.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/networking/virtual-ips/",
			Says: "Each node runs kube-proxy, unless another component takes its place, and it turns Services into rules; it " +
				"serves its health on port 10256, where load balancers ask for it.",
		},
		Why: "A proxy that hangs leaves the rules of the past in place: Services work until something changes, and then only on " +
			"some nodes. Its health check fails when it has not kept up with changes.",
		Needs:       []requirement.Feature{requirement.NodeAgent},
		PodSecurity: "privileged",
		Roles:       []world.Role{world.Node},
		Check:       proxiesHealthy,
		Control: requirement.Control{
			Says:  "kube-proxy held by SIGSTOP on one node",
			Fault: &requirement.Fault{Points: []requirement.Point{fault.SuspendOnOneNode("kube-proxy", proxyHeld)}},
			Red:   []requirement.Reason{requirement.NoAnswer},
			Alone: true, // Services that change meanwhile are stale on that node
		},
	}
}

func proxiesHealthy(ctx context.Context, env *requirement.Env) error {
	ends, refused := env.Roles(world.Node), 0
	for _, end := range ends {
		if f := requirement.AsFailure(proxyHealthy(ctx, env, end)); f != nil && f.Reason == requirement.Refused {
			refused++
		}
	}
	if refused == len(ends) {
		return &requirement.Unsupported{Probed: fmt.Sprintf("nothing listens on port %d of any of the %d nodes: the cluster has no kube-proxy, "+
			"or one that serves its health elsewhere", proxyHealthPort, refused)}
	}
	for _, end := range ends {
		if err := env.Until(ctx, func(ctx context.Context) error { return proxyHealthy(ctx, env, end) }); err != nil {
			return err
		}
		env.Note("%s: proxy mode %s", end.Node, proxyMode(ctx, env, end))
	}
	return nil
}

func proxyHealthy(ctx context.Context, env *requirement.Env, end *requirement.End) error {
	address := requirement.At(end.IPs[0], proxyHealthPort)
	got, err := end.HTTP(ctx, wire.HTTP{URL: "http://" + address + "/healthz", Timeout: int(env.Attempt.Milliseconds())})
	if err != nil {
		return fmt.Errorf("asking the proxy of %s for its health: %w", end.Node, err)
	}
	fail := func(reason requirement.Reason, observed string) error {
		return &requirement.Failure{Reason: reason, From: end, Target: address, Protocol: "http",
			Expected: "status 200 at /healthz", Observed: observed, Again: "curl http://" + address + "/healthz   (on node " + end.Node + ")"}
	}
	switch {
	case !got.Ok():
		return fail(requirement.ReasonOf(got.Errno), got.Errno.String())
	case got.Status != http.StatusOK:
		return fail(requirement.Broken, fmt.Sprintf("status %d: %.200s", got.Status, strings.TrimSpace(got.Body)))
	}
	return nil
}

// proxyMode is what the proxy says of itself, for the report.
func proxyMode(ctx context.Context, env *requirement.Env, end *requirement.End) string {
	got, err := end.HTTP(ctx, wire.HTTP{URL: fmt.Sprintf("http://%s/proxyMode", requirement.At(env.Loopback(), proxyMetricsPort)), Timeout: 500})
	if err != nil || !got.Ok() || got.Status != http.StatusOK {
		return "not told"
	}
	return strings.TrimSpace(got.Body)
}
