package addresses

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/cri"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Seen is a pod and the global addresses that the interfaces in its network namespace have. There are none where its processes
// are in a kernel of their own.
type Seen struct {
	Pod    *corev1.Pod
	Inside []netip.Addr
}

// LookInside looks into the network namespace of each running pod on the agents' nodes that has one of its own. A pod of which no process
// is to be seen is left out. It so sees the pods of others too, in which no agent is.
func LookInside(ctx context.Context, agents []*requirement.End, pods []corev1.Pod) ([]Seen, error) {
	perNode := make([][]Seen, len(agents))
	group, ctx := errgroup.WithContext(ctx)
	for i, agent := range agents {
		group.Go(func() (err error) {
			perNode[i], err = lookOn(ctx, agent, pods)
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(perNode...), err
}

func lookOn(ctx context.Context, agent *requirement.End, pods []corev1.Pod) (all []Seen, err error) {
	listed, err := agent.Process(ctx, wire.Process{Do: "list"})
	if err != nil || !listed.Ok() {
		return nil, fmt.Errorf("listing the processes of %s: %w %s", agent.Node, err, listed.Errno)
	}
	for i := range pods {
		pod := &pods[i]
		if pod.Spec.NodeName != agent.Node || pod.Status.Phase != corev1.PodRunning || !Holds(pod) {
			continue
		}
		at := slices.IndexFunc(listed.Processes, func(p wire.ProcessInfo) bool { return p.Net != 0 && cri.InCgroupOf(p.Cgroup, cri.UID(pod)) })
		if at < 0 {
			continue
		}
		state, err := agent.InspectNetns(ctx, wire.InspectNetns{Netns: listed.Processes[at].Net, Full: true})
		if err != nil {
			return nil, fmt.Errorf("looking into the network namespace of pod %s/%s from %s: %w", pod.Namespace, pod.Name, agent.Node, err)
		}
		if state.Ok() { // else it ended meanwhile
			all = append(all, Seen{pod, global(state.Addresses)})
		}
	}
	return all, nil
}

// global are the addresses that are not of loopback or one link, of lines as "10.0.0.1/24 dev eth0".
func global(lines []string) (all []netip.Addr) {
	for _, line := range lines {
		text, _, _ := strings.Cut(line, " ")
		if p, err := netip.ParsePrefix(text); err == nil && p.Addr().IsGlobalUnicast() {
			all = append(all, p.Addr())
		}
	}
	return all
}

// Twice finds two pods one of which has inside what is the other's in the API. What is nobody's in the API may be in many: programs
// make bridges and secondary networks of their own.
func Twice(all []Seen) (ip netip.Addr, owner, other *corev1.Pod, ok bool) {
	owners := map[netip.Addr]*corev1.Pod{}
	for _, s := range all {
		for _, own := range s.Pod.Status.PodIPs {
			if ip, err := netip.ParseAddr(own.IP); err == nil {
				owners[ip] = s.Pod
			}
		}
	}
	for _, s := range all {
		for _, ip := range s.Inside {
			if owner := owners[ip]; owner != nil && owner.UID != s.Pod.UID {
				return ip, owner, s.Pod, true
			}
		}
	}
	return ip, nil, nil, false
}

// Missing is the first address of the pod's status that its interfaces do not have; "" where they have all, or no global one at
// all is to be seen.
func (s Seen) Missing() string {
	if len(s.Inside) == 0 {
		return ""
	}
	for _, own := range s.Pod.Status.PodIPs {
		if ip, err := netip.ParseAddr(own.IP); err != nil || !slices.Contains(s.Inside, ip) {
			return own.IP
		}
	}
	return ""
}
