package cluster

import (
	"context"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

// proxyMode is what kube-proxy's configuration says; "" where there is none to read.
func proxyMode(ctx context.Context, client kubernetes.Interface) string {
	cm, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, "kube-proxy", metav1.GetOptions{})
	if err != nil {
		if !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return ""
		}
		return runningProxyMode(ctx, client)
	}
	mode, ok := proxyModeOf(cm.Data)
	if !ok {
		return runningProxyMode(ctx, client)
	}
	return mode
}

func proxyModeOf(data map[string]string) (mode string, ok bool) {
	for _, key := range []string{"config.conf", "kube-proxy-config.yaml", "config"} {
		text, there := data[key]
		if !there {
			continue
		}
		var config struct {
			Mode string `json:"mode"`
		}
		if yaml.Unmarshal([]byte(text), &config) != nil {
			continue
		}
		if config.Mode == "" {
			return "iptables", true // KubeProxyConfiguration: the default on Linux
		}
		return config.Mode, true
	}
	return "", false
}

// runningProxyMode asks a node's kube-proxy itself, where its metrics port is open to the API server.
func runningProxyMode(ctx context.Context, client kubernetes.Interface) string {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil || len(nodes.Items) == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	raw, err := client.CoreV1().RESTClient().Get().Resource("nodes").Name(nodes.Items[0].Name + ":10249").
		SubResource("proxy").Suffix("proxyMode").DoRaw(ctx)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// replacedProxy names what does Services where no kube-proxy runs.
func replacedProxy(daemons []appsv1.DaemonSet) string {
	for _, d := range daemons {
		if strings.HasPrefix(d.Name, "kube-proxy") {
			return notKnown
		}
	}
	for _, d := range daemons {
		switch {
		case d.Name == "cilium":
			return "cilium (no kube-proxy)"
		case strings.HasPrefix(d.Name, "kube-router"):
			return "kube-router (no kube-proxy)"
		}
	}
	return notKnown
}
