package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/image"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/nodehealth"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

// execWithin is how long the first exec on a node may take, where execs on other nodes are done; a healthy one takes a quarter of a
// second. Where the kubelet answers otherwise, a second one has so long too.
const execWithin = 10 * time.Second

// surveyNodes finds out which nodes can't be judged like the others before anything is made on them.
func (s *Stage) surveyNodes(ctx context.Context, places map[string]place) error {
	nodes, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("reading the cluster's nodes: %w", err)
	}
	nodes.Items = slices.DeleteFunc(nodes.Items, func(n corev1.Node) bool { return places != nil && !places[n.Name].Selected })
	s.found = nodehealth.Survey(nodes.Items, nodehealth.Takes{Architectures: image.Archs, Ordinary: func(n *corev1.Node) bool {
		return s.plan.Tolerate || places[n.Name].Tolerated || !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
			return t.Effect != corev1.TaintEffectPreferNoSchedule
		})
	}})
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.undo.Add("ending the watch of the nodes' Leases", func(context.Context) error { stop(); return nil })
	s.leases, err = nodehealth.Follow(following, s.kube)
	if err != nil {
		s.options.Log.Say("kubelets that hang are found late: %s", err)
	}
	var all sync.WaitGroup
	for _, node := range s.leases.Suspicious() {
		all.Go(func() { s.suspect(ctx, node) })
	}
	all.Wait()
	for _, f := range s.found {
		s.options.Log.Say("node %s", f)
	}
	return nil
}

// suspect finds out whether the kubelet of a node whose Lease is old has stopped.
func (s *Stage) suspect(ctx context.Context, node string) {
	if out, _ := s.leftOut(node); out {
		return
	}
	healthy, said := nodehealth.AskKubelet(ctx, s.kube, node)
	if healthy {
		return // its clock is behind
	}
	if o, stopped := s.leases.Stopped(ctx, node); stopped {
		s.find(requirement.NodeFinding{Node: node, State: requirement.NodeRenewsNoLease, Since: o.Last, Sick: true, LeftOut: true,
			Said: o.String() + "; " + said})
	}
}

// find keeps a finding.
func (s *Stage) find(f requirement.NodeFinding) {
	s.finding.Lock()
	defer s.finding.Unlock()
	s.found = withFinding(s.found, f)
}

// withFinding are the findings with one more, in the order of the nodes: of each node and state the last.
func withFinding(all []requirement.NodeFinding, f requirement.NodeFinding) []requirement.NodeFinding {
	same := func(o requirement.NodeFinding) bool { return o.Node == f.Node && o.State == f.State }
	all = append(slices.DeleteFunc(slices.Clone(all), same), f)
	slices.SortStableFunc(all, func(a, b requirement.NodeFinding) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// leftOut says whether the world is to be placed without the node, and why.
func (s *Stage) leftOut(node string) (bool, requirement.NodeFinding) {
	s.finding.Lock()
	defer s.finding.Unlock()
	for _, f := range s.found {
		if f.Node == node && f.LeftOut && f.State != requirement.NodeLacksPods {
			return true, f
		}
	}
	return false, requirement.NodeFinding{}
}

// sickWorkers say which nodes that would take ordinary pods are left out, and why.
func (s *Stage) sickWorkers() (all []string) {
	for _, c := range s.candidates {
		if out, why := s.leftOut(c.name); out && why.Sick && c.ordinary {
			all = append(all, why.String())
		}
	}
	return all
}

// Nodes are the nodes that are not judged like the others, and why.
func (s *Stage) Nodes() []requirement.NodeFinding {
	if s.players != nil {
		return s.players.NodeFindings()
	}
	return s.soFar()
}

func (s *Stage) soFar() []requirement.NodeFinding {
	s.finding.Lock()
	defer s.finding.Unlock()
	return slices.Clone(s.found)
}

// leaveOut places the world anew, without the nodes that turned out to be sick, and removes the pods that are not where they are to be
// then.
func (s *Stage) leaveOut(ctx context.Context, sick []requirement.NodeFinding) error {
	for _, f := range sick {
		_, said := nodehealth.AskKubelet(ctx, s.kube, f.Node)
		f.Said += "; " + said
		s.options.Log.Say("node %s; the world is placed without it", f)
		s.find(f)
	}
	if err := s.placeWorld(ctx); err != nil {
		return err
	}
	s.players.replan(s.plan, s.soFar())
	s.explainMissing()
	to := map[string]string{}
	for _, pod := range s.plan.Pods(s.options.Roles) {
		to[key(pod.Object)] = world.NodeOf(pod.Object)
	}
	pods, err := s.worldsPods(ctx)
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, pod := range pods {
		out, _ := s.leftOut(world.NodeOf(&pod))
		if !out && to[key(&pod)] == world.NodeOf(&pod) {
			continue
		}
		delete(s.running, key(&pod))
		group.Go(func() error {
			if !out {
				return s.players.remove(groupCtx, &pod)
			}
			// Nobody is there to end it in its own time.
			at := int64(0)
			err := s.kube.CoreV1().Pods(pod.Namespace).Delete(groupCtx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &at})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("removing pods that were placed beside a sick node: %w", err)
	}
	return s.deployServices(ctx)
}

// worldsPods are the pods that there are in the world's namespaces.
func (s *Stage) worldsPods(ctx context.Context) (all []corev1.Pod, err error) {
	for _, ns := range s.plan.Namespaces() {
		list, err := s.kube.CoreV1().Pods(ns.Name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("listing the run's pods: %w", err)
		}
		all = append(all, list.Items...)
	}
	return all, nil
}

// reachNodes tries an exec on each node of the world. The agents of a node that answers none are reached by relays in pods of others;
// those that can't be reached so either are returned as sick.
func (s *Stage) reachNodes(ctx context.Context) (sick []requirement.NodeFinding, err error) {
	first := s.players.perNode()
	errs := make([]error, len(first))
	var all sync.WaitGroup
	for i, end := range first {
		all.Go(func() { errs[i] = s.execs(ctx, end) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !slices.Contains(errs, nil) {
		return nil, nil // it is not for a node that no exec works, and rows will tell
	}
	for i, end := range first {
		if errs[i] == nil {
			continue
		}
		f := requirement.NodeFinding{Node: end.Node, State: requirement.NodeAnswersNoExec, Sick: true,
			Said: fmt.Sprintf("an exec in %s/%s: %v", end.Namespace, end.Pod, errs[i])}
		if left := s.relayTo(ctx, end.Node); left != nil {
			f.LeftOut = true
			f.Said += "; nor was it reached by a relay in a pod of another node: " + left.Error()
			sick = append(sick, f)
			continue
		}
		f.Instead = "its agents are reached by relays in pods of other nodes, over the pod network"
		s.options.Log.Say("node %s; %s", f, f.Instead)
		s.find(f)
		s.players.findMore(f)
	}
	return sick, nil
}

// execs tries an exec in the end's container; where it takes too long though the kubelet answers, once again.
func (s *Stage) execs(ctx context.Context, end *requirement.End) error {
	once := func() error {
		bounded, cancel := context.WithTimeoutCause(ctx, execWithin, fmt.Errorf("no answer within %s", execWithin))
		defer cancel()
		said, err := probe.Output(bounded, probe.Exec(s.cluster.Config(), end.Namespace, end.Pod, end.Container, "/agent", "version"), 4096)
		switch {
		case bounded.Err() != nil:
			return context.Cause(bounded)
		case err == nil && said == "":
			return errors.New("it ended without a word")
		}
		return err
	}
	err := once()
	if err == nil {
		return nil
	}
	if healthy, said := nodehealth.AskKubelet(ctx, s.kube, end.Node); !healthy {
		return fmt.Errorf("%w; %s", err, said)
	}
	return once()
}

// relayTo has the agents of a node reached by relays, and says why they can't. One agent that can't be reached alone, such as that in
// the node's own network, loses its roles.
func (s *Stage) relayTo(ctx context.Context, node string) error {
	s.players.detour(node)
	ends := s.players.on(node)
	errs := make([]error, len(ends))
	var all sync.WaitGroup
	for i, end := range ends {
		all.Go(func() {
			bounded, cancel := context.WithTimeout(ctx, execWithin)
			defer cancel()
			_, errs[i] = end.Identity(bounded)
		})
	}
	all.Wait()
	ordinary := slices.IndexFunc(ends, func(e *requirement.End) bool { return !e.HostNetwork })
	if ordinary < 0 || errs[ordinary] != nil {
		return errors.Join(errs...)
	}
	for i, end := range ends {
		if errs[i] != nil {
			s.options.Log.Say("%s is not reached by a relay either: %s", end.Where(), errs[i])
			s.players.drop(end, errs[i].Error())
		}
	}
	return nil
}
