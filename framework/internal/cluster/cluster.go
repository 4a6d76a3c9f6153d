package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kind "sigs.k8s.io/kind/pkg/cluster"

	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/runid"
)

// Image is the node image that a cluster's nodes run.
type Image struct {
	Ref        string // what the engine calls it
	From       string // where it came from: a registry, the engine's store, the offline build
	Kubernetes string // its version, "v1.36.3"; "" where not known
	Why        string // why this one
	// Offline images were built on this machine: they bring no network of their own, and the egress
	// guard must hold.
	Offline bool
}

// Spec says what cluster to make.
type Spec struct {
	Run    runid.ID
	Engine *engine.Engine
	Image  Image
	// Workers is the number of nodes besides the one control plane; 0 is two, less than 0 none.
	Workers int
	Options
	// Containerd and Kubelet are patches of their configuration on every node, beside those that the host needs: of kind's
	// containerdConfigPatches and kubeadmConfigPatches.
	Containerd, Kubelet []string
	// AgentRef and AgentTar are the probe agent's image: of it the host outside the cluster is made,
	// which also is the pods' resolver for names outside the cluster. Without it there is neither.
	AgentRef, AgentTar string
	AgentKey           string // the run's key, see package runkey; "" gives that host none
	// LogDir takes the details of a failure; "" drops them.
	LogDir string
	// Phase is told when a phase begins (done false) and when it has ended, with how long it took.
	Phase func(name string, took time.Duration, done bool)
	// Log is told what a person should know, in one line each.
	Log func(string)
}

// Cluster is a cluster to test: one that Create made, or one that Existing joined.
type Cluster struct {
	name       string
	kubeconfig string
	config     *rest.Config
	client     kubernetes.Interface

	// The rest is set for clusters that were made here.
	spec    Spec
	kind    *kind.Provider
	dir     string
	net     network
	outside *Outside
}

// Name is the cluster's name: the run's, or the context's of an existing cluster.
func (c *Cluster) Name() string { return c.name }

// Owned says whether the cluster was made by this run.
func (c *Cluster) Owned() bool { return c.kind != nil }

// Config returns a copy of the API server's client configuration. Its requests are not rate-limited: waiting for a limit would show as latency.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Client is a client of the API server.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Kubeconfig is the path of the kubeconfig file; in a private folder for clusters that were made here.
func (c *Cluster) Kubeconfig() string { return c.kubeconfig }

// Outside is the host outside the cluster; nil where there is none.
func (c *Cluster) Outside() *Outside { return c.outside }

// NodeCommand returns a command that runs a program on a node through the container engine, not through Kubernetes. It is an
// error for a cluster that was not made here.
func (c *Cluster) NodeCommand(ctx context.Context, node string, argv ...string) (*exec.Cmd, error) {
	if !c.Owned() {
		return nil, fmt.Errorf("programs can be run on the nodes of clusters that Parley made only")
	}
	return c.spec.Engine.Command(ctx, append([]string{"exec", "-i", node}, argv...)...), nil
}

// Delete removes the cluster and everything that was made for it. An existing cluster is left alone.
func (c *Cluster) Delete(ctx context.Context) error {
	if c.spec.Engine == nil {
		return nil
	}
	_, err := removeRun(ctx, c.spec.Engine, c.spec.Run, false)
	return err
}

// keepMarker is in the name of the run's volume, and is the name of the file in the run's folder, by which Reap knows that a
// cluster is kept.
const keepMarker = "keep"

// keepTimeout bounds the making of the marker.
const keepTimeout = 30 * time.Second

// Keep marks the cluster to outlive its owner: only Reap with all set removes it. It has a deadline of its own, since
// it is for the end of a run, whose context may have ended.
func (c *Cluster) Keep() error {
	if !c.Owned() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), keepTimeout)
	defer cancel()
	if err := os.WriteFile(filepath.Join(c.dir, keepMarker), nil, 0o600); err != nil {
		return fmt.Errorf("marking the cluster as kept: %w", err)
	}
	id := c.spec.Run
	if _, err := c.spec.Engine.Output(ctx, "volume", "create", "--label", runid.Label+"="+string(id), id.Name(keepMarker)); err != nil {
		return fmt.Errorf("marking the cluster as kept: %w", err)
	}
	return nil
}

// removeTimeout bounds the removal of what a failed or cancelled Create made.
const removeTimeout = 2 * time.Minute

// Create makes a cluster and waits until it is ready. Whatever goes wrong, a cancelled ctx and a panic
// included, all that was made is removed before it returns.
func Create(ctx context.Context, spec Spec) (made *Cluster, err error) {
	if spec.Workers == 0 {
		spec.Workers = 2
	}
	spec.Workers = max(0, spec.Workers)
	if spec.Engine == nil || spec.Image.Ref == "" {
		return nil, fmt.Errorf("making a cluster needs a container engine and a node image")
	}
	if spec.Log == nil {
		spec.Log = func(string) {}
	}
	c := &Cluster{name: spec.Run.Name(), spec: spec, dir: filepath.Join(os.TempDir(), spec.Run.Name())}
	c.kubeconfig = filepath.Join(c.dir, "kubeconfig")
	done := false
	defer func() {
		if done {
			return
		}
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		if e := c.Delete(undo); e != nil {
			err = errors.Join(err, fmt.Errorf("removing what was made: %w", e))
		}
	}()
	phase := phases{report: spec.Phase}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"container network and egress guard", c.prepare},
		{"host outside the cluster", c.startOutside},
		{"", func(ctx context.Context) error { return c.runKind(ctx, &phase) }},
		{"nodes, name service and proxies ready", c.ready},
	} {
		if step.name != "" {
			phase.begin(step.name)
		}
		if err := step.do(ctx); err != nil {
			return nil, err
		}
		phase.end()
	}
	done = true
	return c, nil
}

// prepare makes the run's folder, its network and the guard over it, in this order: nothing that could send
// a packet exists before the guard.
func (c *Cluster) prepare(ctx context.Context) error {
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return fmt.Errorf("making the run's folder: %w", err)
	}
	c.prepareHost(ctx)
	var err error
	if c.net, err = createNetwork(ctx, c.spec.Engine, c.spec.Run); err != nil {
		return err
	}
	return c.guard()
}

// guard sets the egress guard, or says why there is none.
func (c *Cluster) guard() error {
	err := errGuardElsewhere
	if !c.spec.Engine.Rootless && !c.spec.Engine.Remote {
		err = setGuard(c.spec.Run.Name(), c.net.Bridge, append(podSubnets(), c.net.Subnets...))
	}
	if err == nil {
		return nil
	}
	if c.spec.Image.Offline {
		return fmt.Errorf("the egress guard, which an offline lab needs, could not be set: %w; run as root with a rootful engine", err)
	}
	c.spec.Log("no egress guard: " + err.Error() + ", so packets to addresses outside the cluster may leave this machine")
	return nil
}

var errGuardElsewhere = errors.New("the engine's bridge is not in this process's network namespace")

// connect reads the kubeconfig.
func (c *Cluster) connect(kubeContext string) error {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: c.kubeconfig}
	if c.kubeconfig == "" {
		rules = clientcmd.NewDefaultClientConfigLoadingRules()
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: kubeContext})
	config, err := loader.ClientConfig()
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return c.setConfig(config)
}

func (c *Cluster) setConfig(config *rest.Config) error {
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client of the API server: %w", err)
	}
	c.config, c.client = config, client
	return nil
}
