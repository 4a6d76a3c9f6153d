package cluster

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/parley-k8s/parley/framework/until"
)

// bootstrap is a cluster that kind is still making.
type bootstrap struct {
	cluster *Cluster
	up      chan struct{} // closed when the control plane runs
	closing sync.Once
	mu      sync.Mutex
	made    kubernetes.Interface
}

// markUp notes that the control plane runs.
func (b *bootstrap) markUp() { b.closing.Do(func() { close(b.up) }) }

// onPhase is called as each of kind's phases begins, and kind goes on when it returns. It knows phases by words of
// their names: if kind changes those, the pod network is configured later and the join takes longer, no more.
func (b *bootstrap) onPhase(ctx context.Context, phase string) {
	switch {
	case strings.Contains(phase, "installing"):
		b.markUp()
	case strings.Contains(phase, "joining"):
		b.markUp()
		b.awaitSignature(ctx)
	}
}

// kubeconfigPatience bounds how long the control plane's kubeconfig may be unreadable once it runs.
const kubeconfigPatience = 30 * time.Second

// client is a client of the API server, as soon as the control plane runs.
func (b *bootstrap) client(ctx context.Context) (kubernetes.Interface, error) {
	select {
	case <-b.up:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the control plane: %w", context.Cause(ctx))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.made != nil {
		return b.made, nil
	}
	var c Cluster
	_, err := until.Settled(ctx, until.Policy{Within: kubeconfigPatience, Every: 500 * time.Millisecond}, func(context.Context) error {
		raw, err := b.cluster.kind.KubeConfig(b.cluster.name, false)
		if err != nil {
			return err
		}
		config, err := clientcmd.RESTConfigFromKubeConfig([]byte(raw))
		if err != nil {
			return err
		}
		return c.setConfig(config)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the control plane's kubeconfig: %w", err)
	}
	b.made = c.client
	return b.made, nil
}

// The description of the cluster that joins read, and the keys of its signatures (k8s.io/cluster-bootstrap,
// token/api).
const clusterInfo, signaturePrefix = "cluster-info", "jws-kubeconfig-"

// signaturePatience is kubeadm's own interval (DiscoveryRetryInterval): beyond it nothing is gained.
const signaturePatience = 5 * time.Second

// awaitSignature waits until the controller manager has signed the cluster's description. A join that comes
// earlier asks again only after five seconds. Whether it succeeds does not matter: the join judges.
func (b *bootstrap) awaitSignature(ctx context.Context) {
	client, err := b.client(ctx)
	if err != nil {
		return
	}
	_, _ = until.Settled(ctx, until.Policy{Within: signaturePatience, Every: 100 * time.Millisecond}, func(ctx context.Context) error {
		info, err := client.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, clusterInfo, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for key := range info.Data {
			if strings.HasPrefix(key, signaturePrefix) {
				return nil
			}
		}
		return pending("not signed")
	})
}
