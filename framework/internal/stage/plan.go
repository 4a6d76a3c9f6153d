package stage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/control"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// planWorld places the world on the cluster's nodes.
func (s *Stage) planWorld(ctx context.Context) error {
	s.suite = control.NewSuite()
	s.plan = world.Plan{Prefix: s.options.Name, Labels: map[string]string{runid.Label: string(s.options.Run)}, Image: s.lab.AgentImage,
		Tolerate: s.cluster.Owned(), Key: s.lab.Key, ControlClient: s.suite.Public()}
	s.planRuntimeClass()
	places, err := s.placesOf(ctx)
	if err != nil {
		return err
	}
	for _, secret := range s.options.PullSecrets {
		s.plan.PullSecrets = append(s.plan.PullSecrets, path.Base(secret))
	}
	for _, node := range s.lab.Facts.Nodes {
		if places != nil && !places[node.Name].Selected {
			continue
		}
		s.candidates = append(s.candidates, candidate{node.Name, takesOrdinary(node.Taints) || places[node.Name].Tolerated})
	}
	if err := s.surveyNodes(ctx, places); err != nil {
		return err
	}
	if err := s.placeWorld(ctx); err != nil {
		return err
	}
	if len(s.families) == 0 {
		return errors.New("the cluster shows no address family: neither its pods nor the kubernetes Service have an IP")
	}
	dns := lookForDNS(ctx, s.kube, s.plan.Nodes)
	s.plan.ClusterDNS, s.plan.Domain, s.plan.DNSService = dns.server, dns.domain, dns.service
	return nil
}

// candidate is a node that the world could be placed on; ordinary pods need no toleration of the run's own there.
type candidate struct {
	name     string
	ordinary bool
}

// takesOrdinary says whether a node with these taints, as key:effect, takes ordinary pods once it is ready.
func takesOrdinary(taints []string) bool {
	return !slices.ContainsFunc(taints, func(t string) bool {
		key, _, _ := strings.Cut(t, ":")
		return key != corev1.TaintNodeNotReady && key != corev1.TaintNodeUnreachable
	})
}

// placeWorld places the world on the nodes that are not left out. Where too few of those that take ordinary pods remain, and the
// cluster was made here, the others take their place.
func (s *Stage) placeWorld(ctx context.Context) error {
	s.plan.Workers, s.plan.Nodes, s.plan.Avoid = nil, nil, nil
	var others []string
	sick := false
	for _, c := range s.candidates {
		out, why := s.leftOut(c.name)
		switch {
		case out:
			s.plan.Avoid = append(s.plan.Avoid, c.name)
			sick = sick || why.Sick && c.ordinary
			continue
		case c.ordinary:
			s.plan.Workers = append(s.plan.Workers, c.name)
		case s.plan.Tolerate:
			others = append(others, c.name)
		}
		if c.ordinary || s.plan.Tolerate {
			s.plan.Nodes = append(s.plan.Nodes, c.name)
		}
	}
	if missing := 2 - len(s.plan.Workers); sick && missing > 0 {
		s.plan.Workers = append(s.plan.Workers, others[:min(missing, len(others))]...)
	}
	if len(s.plan.Workers) == 0 {
		return errors.New("no node of the cluster takes ordinary pods: " + s.whyNoNode(ctx))
	}
	return nil
}

// whyNoNode says of each node why ordinary pods don't run there.
func (s *Stage) whyNoNode(ctx context.Context) string {
	nodes, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		return "there is none"
	}
	var all []string
	for _, n := range nodes.Items {
		if out, why := s.leftOut(n.Name); out {
			all = append(all, why.String())
		} else {
			all = append(all, n.Name+" is not one of those that are chosen")
		}
	}
	return strings.Join(all, "; ")
}

// explainMissing says beforehand why some roles can't be played in a cluster of this shape.
func (s *Stage) explainMissing() {
	if s.plan.ClusterDNS == "" {
		why := "the address of the cluster's DNS was not found: no kubelet may be asked for it, and no Service is known to serve DNS"
		for _, role := range []world.Role{world.NoSearch, world.LongSearchDNS} {
			s.players.setMissing(role, why)
		}
	}
	if len(s.plan.Workers) >= 2 {
		return
	}
	if out := s.sickWorkers(); len(out) > 0 {
		why := fmt.Sprintf("it needs two nodes that take ordinary pods, and %d is left: %s", len(s.plan.Workers), strings.Join(out, "; "))
		more := s.plan
		more.Workers = append(slices.Clone(more.Workers), "another")
		s.players.setShort(why, rolesOf(more), rolesOf(s.plan))
		return
	}
	why := fmt.Sprintf("it needs two nodes that take ordinary pods, and this cluster has %d", len(s.plan.Workers))
	for _, role := range []world.Role{world.Far, world.WebFar, world.OnlyFar, world.HostDirFar, world.MemberFar, world.BurstFar} {
		s.players.setMissing(role, why)
	}
}

// rolesOf are all the roles that the plan has somebody for.
func rolesOf(p world.Plan) map[world.Role]bool {
	all := map[world.Role]bool{world.Far: len(p.Workers) > 1}
	for _, role := range p.AllRoles() {
		all[role] = true
	}
	return all
}

// addOutside gives the host outside the cluster its role: a container beside clusters that were made
// here, this very machine for a cluster of the user's.
func (s *Stage) addOutside() error {
	end := &requirement.End{Role: world.Outside}
	if outside := s.cluster.Outside(); outside != nil {
		end.Agent = probe.New("outside", probe.Command(outside.Relay[0], outside.Relay[1:], outside.Env))
		end.IPs = outside.IPs
	} else {
		dialer, stop, err := probe.Local(s.plan.Key)
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
