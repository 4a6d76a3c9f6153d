package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/parley-k8s/parley/framework/internal/podstatus"
)

// readyTimeout bounds the wait for a cluster that was just made. Everything is in the node image; on two slow
// cores it takes some 15 seconds from the last join.
const readyTimeout = 4 * time.Minute

// askTimeout bounds what is asked of a cluster that did not become ready.
const askTimeout = 10 * time.Second

// ready waits until every node is Ready, the name service has an available replica and kube-proxy runs on every
// node: what every requirement rests on, and no more.
func (c *Cluster) ready(ctx context.Context) error {
	bounded, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not within %s", readyTimeout))
	defer cancel()
	nodes := c.spec.Workers + 1
	group, grouped := errgroup.WithContext(bounded)
	group.Go(func() error {
		return watchUntil(grouped, listNodes(c.client), func(seen map[string]*corev1.Node) error { return nodesReady(seen, nodes) })
	})
	group.Go(func() error { return watchUntil(grouped, listDeployment(c.client, "coredns"), deploymentAvailable) })
	group.Go(func() error {
		return watchUntil(grouped, listDaemonSet(c.client, "kube-proxy"), func(seen map[string]*appsv1.DaemonSet) error {
			return daemonsAvailable(seen, nodes)
		})
	})
	if err := group.Wait(); err != nil {
		err = fmt.Errorf("waiting for the cluster: %w", err)
		if ctx.Err() != nil {
			return err
		}
		if why := c.firstNotReady(ctx); why != "" {
			err = fmt.Errorf("%w; %s", err, why)
		}
		return c.keepDetails(ctx, err, err.Error()+"\n")
	}
	return c.checkRuntime(ctx)
}

// firstNotReady says why the first of the cluster's own pods that are not ready is not; "" where there is none, or it can't be asked.
func (c *Cluster) firstNotReady(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	pods, err := c.client.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
	if err != nil {
		return ""
	}
	for _, pod := range pods.Items {
		if !slices.ContainsFunc(pod.Status.Conditions, func(cond corev1.PodCondition) bool {
			return cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue
		}) {
			return podstatus.Why(ctx, c.client, pod.Namespace+"/"+pod.Name, &pod)
		}
	}
	return ""
}

// checkRuntime says whether every node reports the runtime that was asked for: an image that was named may have another.
func (c *Cluster) checkRuntime(ctx context.Context) error {
	if c.spec.Runtime == "" {
		return nil
	}
	want, err := RuntimeOf(c.spec.Runtime)
	if err != nil {
		return err
	}
	nodes, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("asking the nodes for their runtime: %w", err)
	}
	for _, node := range nodes.Items {
		if reported := node.Status.NodeInfo.ContainerRuntimeVersion; !want.has(reported) {
			return fmt.Errorf("node %s reports the runtime %q where %s was asked for: its image %s has another", node.Name, reported, want.Product, c.spec.Image.Ref)
		}
	}
	return nil
}

func nodesReady(seen map[string]*corev1.Node, want int) error {
	var missing []string
	for name, node := range seen {
		why := "has no Ready condition"
		for _, cond := range node.Status.Conditions {
			if cond.Type == corev1.NodeReady {
				why = cond.Message
				if cond.Status == corev1.ConditionTrue {
					why = ""
				}
			}
		}
		// The controller that takes it away lags behind the condition, and no pod comes to the node before.
		for _, t := range node.Spec.Taints {
			if why == "" && t.Key == corev1.TaintNodeNotReady {
				why = "still tainted " + t.ToString()
			}
		}
		if why != "" {
			missing = append(missing, name+" ("+why+")")
		}
	}
	slices.Sort(missing)
	switch {
	case len(missing) > 0:
		return pending("nodes not Ready: %s", strings.Join(missing, ", "))
	case len(seen) < want:
		return pending("%d of %d nodes have joined", len(seen), want)
	}
	return nil
}

func deploymentAvailable(seen map[string]*appsv1.Deployment) error {
	for name, d := range seen {
		for _, cond := range d.Status.Conditions {
			// Available from the start means nothing: the controller has not looked yet.
			if cond.Type == appsv1.DeploymentAvailable && cond.Status == corev1.ConditionTrue && d.Status.AvailableReplicas > 0 {
				return nil
			}
		}
		return pending("deployment %s has %d of %d replicas available", name, d.Status.AvailableReplicas, d.Status.Replicas)
	}
	return pending("the name service's deployment is not there")
}

func daemonsAvailable(seen map[string]*appsv1.DaemonSet, want int) error {
	for name, d := range seen {
		if int(d.Status.NumberAvailable) < want {
			return pending("daemon set %s runs on %d of %d nodes", name, d.Status.NumberAvailable, want)
		}
		return nil
	}
	return pending("kube-proxy's daemon set is not there")
}

func listNodes(client kubernetes.Interface) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.CoreV1().Nodes().List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.CoreV1().Nodes().Watch(ctx, o)
		},
	}
}

func listDeployment(client kubernetes.Interface, name string) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.AppsV1().Deployments(metav1.NamespaceSystem).List(ctx, named(o, name))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.AppsV1().Deployments(metav1.NamespaceSystem).Watch(ctx, named(o, name))
		},
	}
}

func listDaemonSet(client kubernetes.Interface, name string) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.AppsV1().DaemonSets(metav1.NamespaceSystem).List(ctx, named(o, name))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.AppsV1().DaemonSets(metav1.NamespaceSystem).Watch(ctx, named(o, name))
		},
	}
}

func named(o metav1.ListOptions, name string) metav1.ListOptions {
	o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
	return o
}
