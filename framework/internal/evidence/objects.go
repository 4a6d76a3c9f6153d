package evidence

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/parley-k8s/parley/framework/internal/diagnose"
	"github.com/parley-k8s/parley/framework/internal/podstatus"
)

// objects writes the pods at the ends as the API has them now, and the Service whose address was dialled with its
// endpoints.
func (c *collector) objects(ctx context.Context) error {
	var docs []string
	add := func(what string, object any, err error) {
		if err != nil {
			docs = append(docs, fmt.Sprintf("# %s: %s\n", what, notFound(err)))
			return
		}
		text, err := yaml.Marshal(object)
		if err != nil {
			text = []byte("# " + err.Error() + "\n")
		}
		docs = append(docs, fmt.Sprintf("# %s\n%s", what, text))
	}
	var done []string
	for _, end := range c.ends() {
		name := end.Namespace + "/" + end.Pod
		if slices.Contains(done, name) {
			continue
		}
		done = append(done, name)
		pod, err := c.Env.Kube.CoreV1().Pods(end.Namespace).Get(ctx, end.Pod, metav1.GetOptions{})
		if err == nil {
			pod.ManagedFields = nil
			pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
		}
		add("pod "+name, pod, err)
	}
	if ip, ok := diagnose.Address(c.Failure.Target); ok {
		c.service(ctx, ip.String(), add)
	}
	return c.write("objects.yaml", strings.Join(docs, "---\n"))
}

// service adds the Service that has the address, if one has, and its endpoints.
func (c *collector) service(ctx context.Context, ip string, add func(string, any, error)) {
	services, err := c.Env.Kube.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		add("Services", nil, err)
		return
	}
	for _, s := range services.Items {
		if !slices.Contains(s.Spec.ClusterIPs, ip) && !slices.Contains(s.Spec.ExternalIPs, ip) {
			continue
		}
		s.ManagedFields = nil
		s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}
		add("Service "+s.Namespace+"/"+s.Name, s, nil)
		of, err := c.Env.Kube.DiscoveryV1().EndpointSlices(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + s.Name})
		if err != nil {
			add("its EndpointSlices", nil, err)
			return
		}
		for _, slice := range of.Items {
			slice.ManagedFields = nil
			slice.TypeMeta = metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"}
			add("EndpointSlice "+slice.Name, slice, nil)
		}
	}
}

// notFound says of an object that is gone that it is.
func notFound(err error) string {
	if apierrors.IsNotFound(err) {
		return "it is gone: " + err.Error()
	}
	return "it could not be read: " + err.Error()
}

// events writes those about the ends' pods and nodes since the check began.
func (c *collector) events(ctx context.Context) error {
	list, err := c.Env.Kube.CoreV1().Events(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return c.write("events.txt", "the events could not be read: "+err.Error()+"\n")
	}
	var names []string
	for _, end := range c.ends() {
		names = append(names, end.Pod, end.Node)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Event) int { return podstatus.EventTime(a).Compare(podstatus.EventTime(b).Time) })
	var b strings.Builder
	for _, e := range list.Items {
		if podstatus.EventTime(e).Time.Before(c.minute()) || len(names) > 0 && !slices.Contains(names, e.InvolvedObject.Name) {
			continue
		}
		fmt.Fprintf(&b, "%s %s %s/%s %s: %s\n", podstatus.EventTime(e).UTC().Format("15:04:05"), e.Type, strings.ToLower(e.InvolvedObject.Kind), e.InvolvedObject.Name, e.Reason, e.Message)
	}
	if b.Len() == 0 {
		b.WriteString("none about these pods and nodes in that minute\n")
	}
	return c.write("events.txt", b.String())
}
