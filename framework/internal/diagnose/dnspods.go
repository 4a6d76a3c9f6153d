package diagnose

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/parley-k8s/parley/framework/internal/podstatus"
	"github.com/parley-k8s/parley/framework/requirement"
)

// dnsPod is one pod behind the DNS Service.
type dnsPod struct {
	namespace, name, node string
	address               string // ip:port
}

func (p dnsPod) String() string {
	if p.name == "" {
		return p.address
	}
	return p.name + " on " + p.node
}

// end is a stand-in for a pod that has no agent: its node's steps can be counted, its own namespace's can't.
func (p dnsPod) end() *requirement.End {
	return &requirement.End{Agent: nil, Pod: p.name, Node: p.node}
}

// dnsPods are the ready pods behind the DNS Service. Where there is none of them, none says why, in the words of the API. Without
// a Service that is known to serve DNS there are no pods to ask, and the nameserver alone is.
func (w *walk) dnsPods(ctx context.Context) (all []dnsPod, none string, err error) {
	name := w.env.World.DNSService
	if name.Name == "" {
		return nil, "", nil
	}
	slices, err := w.env.Kube.DiscoveryV1().EndpointSlices(name.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + name.Name})
	if err != nil {
		return nil, "", err
	}
	all, ready := readyPods(slices.Items, w.env.Family)
	if ready == 0 {
		return nil, w.noDNSPod(ctx), nil
	}
	return all, "", nil
}

// readyPods are the ready endpoints of the family for DNS over UDP; ready counts those of all families.
func readyPods(all []discoveryv1.EndpointSlice, family corev1.IPFamily) (pods []dnsPod, ready int) {
	for _, slice := range all {
		port := udpPort(slice)
		if port == 0 {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready || len(e.Addresses) == 0 {
				continue
			}
			ready++
			if string(slice.AddressType) != string(family) {
				continue
			}
			p := dnsPod{address: net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(port)))}
			if e.TargetRef != nil {
				p.namespace, p.name = e.TargetRef.Namespace, e.TargetRef.Name
			}
			if e.NodeName != nil {
				p.node = *e.NodeName
			}
			pods = append(pods, p)
		}
	}
	return pods, ready
}

// udpPort is where the endpoints of a slice serve DNS over UDP, 0 where they don't: a DNS Service has a port for metrics besides,
// which is TCP's.
func udpPort(slice discoveryv1.EndpointSlice) int32 {
	for _, p := range slice.Ports {
		if p.Port != nil && p.Protocol != nil && *p.Protocol == corev1.ProtocolUDP {
			return *p.Port
		}
	}
	return 0
}

// mostPods is how many pods are described, each in a sentence.
const mostPods = 3

// noDNSPod says why no pod serves DNS: what should run them, and what is the matter with each.
func (w *walk) noDNSPod(ctx context.Context) string {
	name, kube := w.env.World.DNSService, w.env.Kube
	told := []string{fmt.Sprintf("DNS: the DNS Service %s has no ready endpoint", name)}
	service, err := kube.CoreV1().Services(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	if err != nil {
		return told[0] + "; it could not be read: " + err.Error()
	}
	if len(service.Spec.Selector) == 0 {
		return told[0] + ", and no selector: somebody else makes its EndpointSlices"
	}
	selects := labels.SelectorFromSet(service.Spec.Selector)
	told = append(told, w.workloads(ctx, name.Namespace, selects)...)
	pods, err := kube.CoreV1().Pods(name.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selects.String()})
	switch {
	case err != nil:
		told = append(told, "its pods could not be read: "+err.Error())
	case len(pods.Items) == 0:
		told = append(told, fmt.Sprintf("no pod in %s has the labels that it selects, %s", name.Namespace, selects))
	}
	for i, pod := range pods.Items {
		if i == mostPods {
			told = append(told, fmt.Sprintf("and %d more", len(pods.Items)-i))
			break
		}
		if requirement.Ready(&pod) {
			told = append(told, fmt.Sprintf("the pod %s is ready and no endpoint", pod.Name))
			continue
		}
		where := pod.Name
		if pod.Spec.NodeName != "" {
			where += " on " + pod.Spec.NodeName
		}
		told = append(told, podstatus.Why(ctx, kube, "the pod "+where, &pod))
	}
	for _, line := range told {
		w.note("%s", line)
	}
	return strings.Join(told, "; ")
}

// workloads says of the Deployments and DaemonSets whose pods the selector selects how many are wanted and ready.
func (w *walk) workloads(ctx context.Context, namespace string, selects labels.Selector) (told []string) {
	if all, err := w.env.Kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{}); err == nil {
		for _, d := range all.Items {
			if selects.Matches(labels.Set(d.Spec.Template.Labels)) {
				wanted := int32(1)
				if d.Spec.Replicas != nil {
					wanted = *d.Spec.Replicas
				}
				told = append(told, fmt.Sprintf("the Deployment %s has %d of %d pods ready", d.Name, d.Status.ReadyReplicas, wanted))
			}
		}
	}
	if all, err := w.env.Kube.AppsV1().DaemonSets(namespace).List(ctx, metav1.ListOptions{}); err == nil {
		for _, d := range all.Items {
			if selects.Matches(labels.Set(d.Spec.Template.Labels)) {
				told = append(told, fmt.Sprintf("the DaemonSet %s has %d of %d pods ready", d.Name, d.Status.NumberReady, d.Status.DesiredNumberScheduled))
			}
		}
	}
	return told
}

// logOfWatches says what a DNS pod's own log has about the API server: the last line about a watch or a list that failed.
func (w *walk) logOfWatches(ctx context.Context, pod dnsPod) string {
	if pod.name == "" {
		return ""
	}
	lines := int64(300)
	raw, err := w.env.Kube.CoreV1().Pods(pod.namespace).GetLogs(pod.name, &corev1.PodLogOptions{TailLines: &lines}).DoRaw(ctx)
	if err != nil {
		w.note("the log of %s could not be read: %v", pod, err)
		return ""
	}
	line := failedWatch(string(raw))
	if line == "" {
		return ""
	}
	w.note("%s logged: %s", pod, line)
	return "; its watch of the API server does not hold, as its log says: " + line
}

// longestQuote bounds what is quoted of a log, in bytes.
const longestQuote = 300

// failedWatch is the last line of a log in which CoreDNS, or client-go's reflector in it, says that it could not list or watch.
func failedWatch(log string) string {
	lines := strings.Split(log, "\n")
	slices.Reverse(lines)
	for _, line := range lines {
		if strings.Contains(line, "Failed to watch") || strings.Contains(line, "failed to list") || strings.Contains(line, "Failed to list") ||
			strings.Contains(line, "watch ended with") || strings.Contains(line, "watch of") && strings.Contains(line, "ended with") {
			return strings.ToValidUTF8(strings.TrimSpace(line[:min(len(line), longestQuote)]), "")
		}
	}
	return ""
}
