package stage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// planWorld places the world on the cluster's nodes.
func (s *Stage) planWorld(ctx context.Context) error {
	s.plan = world.Plan{Prefix: s.options.Name, Labels: map[string]string{runid.Label: string(s.options.Run)}, Image: s.lab.AgentImage,
		Tolerate: s.cluster.Owned()}
	s.planRuntimeClass()
	places, err := s.placesOf(ctx)
	if err != nil {
		return err
	}
	for _, secret := range s.options.PullSecrets {
		s.plan.PullSecrets = append(s.plan.PullSecrets, path.Base(secret))
	}
	for _, node := range s.lab.Facts.Nodes {
		if !node.Ready || places != nil && !places[node.Name].Selected {
			continue
		}
		ordinary := len(node.Taints) == 0 || places[node.Name].Tolerated
		if ordinary {
			s.plan.Workers = append(s.plan.Workers, node.Name)
		}
		if ordinary || s.plan.Tolerate {
			s.plan.Nodes = append(s.plan.Nodes, node.Name)
		}
	}
	if len(s.plan.Workers) == 0 {
		return errors.New("no node of the cluster takes ordinary pods: " + whyNoNode(ctx, s.kube))
	}
	if len(s.families) == 0 {
		return errors.New("the cluster shows no address family: neither its pods nor the kubernetes Service have an IP")
	}
	dns := lookForDNS(ctx, s.kube, s.plan.Workers[0])
	s.plan.ClusterDNS, s.plan.Domain = dns.server, dns.domain
	return nil
}

// whyNoNode says of each node why ordinary pods don't run there.
func whyNoNode(ctx context.Context, kube kubernetes.Interface) string {
	nodes, err := kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		return "there is none"
	}
	var all []string
	for _, n := range nodes.Items {
		why := "it is cordoned"
		for _, t := range n.Spec.Taints {
			why = "it is tainted " + t.ToString()
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				why = "it is not ready: " + c.Message
			}
		}
		all = append(all, n.Name+" ("+why+")")
	}
	return strings.Join(all, ", ")
}

// explainMissing says beforehand why some roles can't be played in a cluster of this shape.
func (s *Stage) explainMissing() {
	if len(s.plan.Workers) < 2 {
		why := fmt.Sprintf("it needs two nodes that take ordinary pods, and this cluster has %d", len(s.plan.Workers))
		for _, role := range []world.Role{world.Far, world.WebFar} {
			s.players.setMissing(role, why)
		}
	}
}

// addOutside gives the host outside the cluster its role: a container beside clusters that were made
// here, this very machine for a cluster of the user's.
func (s *Stage) addOutside() error {
	end := &requirement.End{Role: world.Outside}
	if outside := s.cluster.Outside(); outside != nil {
		end.Agent = probe.New("outside", probe.Command(outside.Relay[0], outside.Relay[1:], outside.Env))
		end.IPs = outside.IPs
	} else {
		dialer, stop, err := probe.Local()
		if err != nil {
			return fmt.Errorf("starting an agent on this machine: %w", err)
		}
		s.undo.Add("stopping the agent on this machine", func(context.Context) error { stop(); return nil })
		end.Agent = probe.New("outside", dialer)
		end.IPs = []netip.Addr{}
	}
	s.players.addEnd(end, "")
	return nil
}
