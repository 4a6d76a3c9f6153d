package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

// existingTimeout is how long an existing cluster's API server may take to say its version.
const existingTimeout = 15 * time.Second

// Existing joins a cluster that is there already. kubeconfig and kubeContext may be empty: then kubectl's own
// rules choose ($KUBECONFIG, ~/.kube/config, the current context).
func Existing(ctx context.Context, kubeconfig, kubeContext string) (*Cluster, error) {
	if kubeconfig != "" {
		if _, err := os.Stat(kubeconfig); err != nil {
			return nil, fmt.Errorf("the kubeconfig can't be read: %w", err)
		}
	}
	c := &Cluster{name: kubeContext, kubeconfig: kubeconfig}
	if err := c.connect(kubeContext); err != nil {
		return nil, err
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if kubeconfig == "" {
		c.kubeconfig = rules.GetDefaultFilename()
	}
	if c.name == "" {
		rules.ExplicitPath = kubeconfig
		if raw, err := rules.Load(); err == nil {
			c.name = raw.CurrentContext
		}
	}
	if c.name == "" {
		c.name = filepath.Base(c.kubeconfig)
	}
	if err := c.checkAPIServer(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// checkAPIServer asks the API server for its version.
func (c *Cluster) checkAPIServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, existingTimeout, fmt.Errorf("no answer within %s", existingTimeout))
	defer cancel()
	err := c.client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("the API server of cluster %q at %s does not answer; check the kubeconfig, the context and that the cluster runs: %w", c.name, c.config.Host, err)
}
