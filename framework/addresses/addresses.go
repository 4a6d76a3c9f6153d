// Package addresses says who has which IP address, as the API server has it: pods by status.podIPs, nodes by their InternalIPs.
package addresses

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Holder is a pod or a node that has an address.
type Holder struct {
	Pod  *corev1.Pod  // nil for a node
	Node *corev1.Node // nil for a pod
}

// String is the holder in a few words: "pod kube-system/coredns-1 on w1", "node w1".
func (h Holder) String() string {
	if h.Pod == nil {
		return "node " + h.Node.Name
	}
	text := fmt.Sprintf("pod %s/%s on %s", h.Pod.Namespace, h.Pod.Name, h.Pod.Spec.NodeName)
	if h.Terminating() {
		text += " (terminating)"
	}
	return text
}

// Terminating says whether the holder is a pod that is being deleted. Its address may be another's a moment before the API knows
// that its containers have ended.
func (h Holder) Terminating() bool { return h.Pod != nil && h.Pod.DeletionTimestamp != nil }

// Shared is an address that several have.
type Shared struct {
	IP      netip.Addr
	Holders []Holder // two or more
}

// String is a sentence: "10.0.0.1 is the address of pod a/b on n and of pod c/d on m".
func (s Shared) String() string {
	var names []string
	for _, h := range s.Holders {
		names = append(names, h.String())
	}
	return s.IP.String() + " is the address of " + strings.Join(names, " and of ")
}

// Passing says whether all but one of the holders are pods that are being deleted: one look does not tell then whether it is
// shared.
func (s Shared) Passing() bool {
	lasting := 0
	for _, h := range s.Holders {
		if !h.Terminating() {
			lasting++
		}
	}
	return lasting < 2
}

// Pods says whether a pod is among the holders.
func (s Shared) Pods() bool {
	return slices.ContainsFunc(s.Holders, func(h Holder) bool { return h.Pod != nil })
}

// Table is who has which address.
type Table map[netip.Addr][]Holder

// Of is the table of these pods and nodes. A pod that shares its node's network has none of its own, and one that has ended has
// given its address back.
func Of(pods []corev1.Pod, nodes []corev1.Node) Table {
	t := Table{}
	add := func(text string, h Holder) {
		ip, err := netip.ParseAddr(text)
		if err == nil && !slices.Contains(t[ip], h) {
			t[ip] = append(t[ip], h)
		}
	}
	for i := range nodes {
		for _, a := range nodes[i].Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				add(a.Address, Holder{Node: &nodes[i]})
			}
		}
	}
	for i := range pods {
		if !Holds(&pods[i]) {
			continue
		}
		for _, ip := range pods[i].Status.PodIPs {
			add(ip.IP, Holder{Pod: &pods[i]})
		}
	}
	return t
}

// Holds says whether the pod has addresses of its own: it shares no node's network, and not all of its containers have ended.
func Holds(pod *corev1.Pod) bool {
	if pod.Spec.HostNetwork || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return false
	}
	if pod.DeletionTimestamp == nil {
		return true
	}
	return slices.ContainsFunc(slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses),
		func(c corev1.ContainerStatus) bool { return c.State.Running != nil })
}

// Shared are the addresses of more than one holder, in order.
func (t Table) Shared() (all []Shared) {
	for ip, holders := range t {
		if len(holders) > 1 {
			// In one order, whatever the order of the lists was: two looks are compared by their sentences.
			holders = slices.SortedFunc(slices.Values(holders), func(a, b Holder) int { return strings.Compare(a.String(), b.String()) })
			all = append(all, Shared{ip, holders})
		}
	}
	slices.SortFunc(all, func(a, b Shared) int { return a.IP.Compare(b.IP) })
	return all
}
