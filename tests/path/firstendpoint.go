package path

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/convergence"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// programmedWithin is how long it may take until a change of endpoints is in force on every node.
	programmedWithin = time.Minute
	// nobody is a label that no pod has.
	nobody = "parley.dev/nobody"
	// dialling is the port of the clients, of the requirement's own.
	dialling = 1
)

func firstEndpoint() requirement.Requirement {
	return requirement.Requirement{
		ID:    "path/first-endpoint-tcp",
		Long:  true,
		Title: "A TCP client that dialled a Service from one source port before it had an endpoint is served from that port once others are, on every node.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/service/#services-in-kubernetes",
			Says: "The Service's controller looks for pods that match its selector all the time and updates the set of its EndpointSlices, which whoever " +
				"connects to the Service then reaches; when the client began to dial makes no difference.",
		},
		Why: "Programs that start together dial each other before anybody is ready, again and again. Where a SYN that led nowhere leaves an entry in " +
			"connection tracking, or a rejection is remembered, the one who came first never gets in, and every newcomer does.",
		Roles: []world.Role{world.Everywhere, world.WebNear}, Wants: []world.Role{world.WebFar},
		Services:  []world.Service{world.Web},
		PerFamily: true,
		Check:     checkFirstEndpoint,
		Control: requirement.Control{
			Says: "what the client of one node sends from that port dropped once the endpoint is there",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.Midway(fault.OnNodeOf(world.Everywhere, fault.DropFrom("prerouting", "tcp"))),
				fault.Midway(fault.InPodOf(world.Everywhere, fault.DropFrom("output", "tcp"))),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func checkFirstEndpoint(ctx context.Context, env *requirement.Env) error {
	service, err := serviceOf(ctx, env, env.Service(world.Web).Spec.Selector, world.TargetPort)
	if err != nil {
		return err
	}
	routes := toService(env, service, webEndpoints(env))
	if len(routes) == 0 {
		return fmt.Errorf("the Service %s was given no virtual IP of %s", service.Name, env.Family)
	}
	// Every proxy knows the Service before it loses its endpoints: a connection that was dialled before leads out of the cluster, and its
	// entry in connection tracking stays as long as it is dialled again.
	if err := sideBySide(ctx, routes, func(ctx context.Context, r route) error { return connects(ctx, env, r) }); err != nil {
		return err
	}
	if err := selects(ctx, env, service.Service, "yes"); err != nil {
		return err
	}
	if err := sideBySide(ctx, routes, func(ctx context.Context, r route) error { return refuses(ctx, env, r) }); err != nil {
		return err
	}
	var same, newcomers []convergence.Client
	for _, r := range routes {
		// A second SYN is path/second-syn's to judge.
		c := convergence.Client{From: r.from, Network: "tcp", Dial: requirement.At(r.ip, world.ServicePort), Within: env.Attempt}
		newcomers = append(newcomers, c)
		c.Source = fmt.Sprintf(":%d", env.Port(dialling))
		same = append(same, c)
	}
	if err := dialInVain(ctx, env, same); err != nil {
		return err
	}
	joins := convergence.Expect{What: "the first endpoint of a TCP Service joins", Within: programmedWithin}
	if joins.By, err = requirement.Hostnames(ctx, webEndpoints(env)...); err != nil {
		return err
	}
	watch := convergence.Begin(ctx, env, newcomers...)
	if err := watch.Change(ctx, joins, func(ctx context.Context) (time.Time, error) {
		return time.Time{}, selects(ctx, env, service.Service, nil)
	}); err != nil {
		return err
	}
	watch.Stop()
	if err := env.Midway(ctx); err != nil {
		return err
	}
	served := joins
	served.What, served.Red = "a TCP client goes on from its source port", true
	return convergence.Begin(ctx, env, same...).Change(ctx, served, func(context.Context) (time.Time, error) { return time.Time{}, nil })
}

// dialInVain has every client dial more than once from its source port. They stop before an endpoint joins: kube-proxy takes its rejection
// away a moment before the way to the endpoint is there, and a SYN in between leads out of the cluster (seen on a busy machine: no route to
// host for as long as that port was dialled again). Newcomers, who have a port for each attempt, meet that moment once.
func dialInVain(ctx context.Context, env *requirement.Env, clients []convergence.Client) error {
	watch := convergence.Begin(ctx, env, clients...)
	defer watch.Stop()
	began := time.Now()
	for range 2 {
		if _, err := watch.Unbroken(ctx, began, convergence.Expect{What: "the time without endpoints", Within: programmedWithin}); err != nil {
			return err
		}
	}
	return nil
}

// selects has the Service select by the label that no pod has, too, or with nil no longer.
func selects(ctx context.Context, env *requirement.Env, service *corev1.Service, value any) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"selector": map[string]any{nobody: value}}})
	if err != nil {
		return err
	}
	if _, err := env.Kube.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("changing what the Service %s selects: %w", service.Name, err)
	}
	return nil
}
