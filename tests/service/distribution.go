package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/tests/internal/draw"
)

// distributionUnset is the variant whose connections go to a Service without trafficDistribution.
const distributionUnset = "distribution-unset"

// hintsWithin bounds the wait for the hints in a new Service's EndpointSlices, which the controller writes along with the
// endpoints: after that the cluster has none.
const hintsWithin = 5 * time.Second

// distribution is one of the values of trafficDistribution.
type distribution struct {
	id, value, where, why string
	// hinted says whether the endpoint's hints name a place, near whether the endpoint is in the node's.
	hinted func(discoveryv1.Endpoint) bool
	near   func(nodes map[string]corev1.Node, client, endpoint *requirement.End) bool
}

var distributions = []distribution{
	{
		id: "service/traffic-distribution-node", value: corev1.ServiceTrafficDistributionPreferSameNode, where: "on its own node",
		why: "Unlike internalTrafficPolicy Local it falls back to other nodes, so that a node-local cache can restart without an outage. " +
			"A proxy that ignores the hints looks healthy and pays for every hop.",
		hinted: func(e discoveryv1.Endpoint) bool { return e.Hints != nil && len(e.Hints.ForNodes) > 0 },
		near: func(_ map[string]corev1.Node, client, endpoint *requirement.End) bool {
			return client.Node == endpoint.Node
		},
	},
	{
		id: "service/traffic-distribution-zone", value: corev1.ServiceTrafficDistributionPreferSameZone, where: "in its own zone",
		why: "Traffic between zones is slower and, in most clouds, paid for. A proxy that does not know its own node's zone, or ignores the " +
			"hints, looks healthy and shows on the bill.",
		hinted: func(e discoveryv1.Endpoint) bool { return e.Hints != nil && len(e.Hints.ForZones) > 0 },
		near: func(nodes map[string]corev1.Node, client, endpoint *requirement.End) bool {
			return nodes[client.Node].Labels[corev1.LabelTopologyZone] == nodes[endpoint.Node].Labels[corev1.LabelTopologyZone]
		},
	},
}

func trafficDistribution(d distribution) requirement.Requirement {
	return requirement.Requirement{
		ID:    d.id,
		Title: "With trafficDistribution " + d.value + " a pod reaches only the endpoints " + d.where + " as long as there are any.",
		Level: requirement.Optional,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-distribution",
			Says: "trafficDistribution expresses a preference: with PreferSameZone for endpoints in the client's zone, with PreferSameNode for those on " +
				"its node. EndpointSlices carry it as hints, which kube-proxy follows.",
		},
		Why:       d.why + " Once the Service is known, one sample is drawn and judged once: " + leakMissed,
		Needs:     []requirement.Feature{requirement.TwoNodes},
		Roles:     []world.Role{world.Everywhere, world.Replica},
		Services:  []world.Service{world.Replicas},
		PerFamily: true,
		Check:     d.check,
		Control: requirement.Control{
			Says:    "a Service without trafficDistribution before the same endpoints",
			Variant: &requirement.Variant{Fixture: distributionUnset},
			Red:     []requirement.Reason{requirement.WrongPeer},
		},
	}
}

func (d distribution) check(ctx context.Context, env *requirement.Env) error {
	list, err := env.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	nodes := map[string]corev1.Node{}
	for _, n := range list.Items {
		nodes[n.Name] = n
	}
	judged := 0
	ends := replicas(env)
	for _, client := range env.Roles(world.Everywhere) {
		if n := len(d.nearOf(nodes, client, ends)); n > 0 && n < len(ends) {
			judged++
		}
	}
	if judged == 0 {
		return &requirement.Unsupported{Probed: fmt.Sprintf("no pod has some, and not all, of the %d endpoints %s (by the nodes' names and the label %s)", len(ends), d.where, corev1.LabelTopologyZone)}
	}
	like := env.Service(world.Replicas)
	service, err := ownService(ctx, env, like.Namespace, corev1.ServiceSpec{Selector: like.Spec.Selector, Ports: onePort(world.TargetPort),
		IPFamilies: []corev1.IPFamily{env.Family}, TrafficDistribution: &d.value})
	if apierrors.IsInvalid(err) {
		return &requirement.Unsupported{Probed: "the API server refuses a Service with trafficDistribution " + d.value + ": " + err.Error()}
	}
	if err != nil {
		return err
	}
	if err := d.awaitHints(ctx, env, service); err != nil {
		return err
	}
	if env.Fixture(distributionUnset) {
		service = like
	}
	near := func(client *requirement.End) []*requirement.End { return d.nearOf(nodes, client, ends) }
	return sampling{service: service, protocols: []string{"tcp"}, ends: near, converging: true, take: atOnceOf(draw.Leaks()), judge: onlyAmong}.run(ctx, env)
}

func (d distribution) nearOf(nodes map[string]corev1.Node, client *requirement.End, ends []*requirement.End) []*requirement.End {
	return slices.DeleteFunc(slices.Clone(ends), func(e *requirement.End) bool { return !d.near(nodes, client, e) })
}

// awaitHints waits until every endpoint of the Service carries a hint.
func (d distribution) awaitHints(ctx context.Context, env *requirement.Env, service requirement.ServiceSeen) error {
	errNone := errors.New("no hints")
	_, err := until.Settled(ctx, until.Policy{Within: hintsWithin}, func(ctx context.Context) error {
		list, err := env.Kube.DiscoveryV1().EndpointSlices(service.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
		if err != nil {
			return fmt.Errorf("listing the EndpointSlices of %s: %w", service.Name, err)
		}
		endpoints := 0
		for _, slice := range list.Items {
			for _, e := range slice.Endpoints {
				if endpoints++; !d.hinted(e) {
					return errNone
				}
			}
		}
		if endpoints < len(replicas(env)) {
			return errNone
		}
		return nil
	})
	if errors.Is(err, errNone) {
		return &requirement.Unsupported{Probed: fmt.Sprintf("the EndpointSlices of a Service with trafficDistribution %s got no hints within %s", d.value, hintsWithin)}
	}
	return err
}
