package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-k8s/parley/fixtures/agent/image"
	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/handler"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// images are what a cluster is made of.
type images struct {
	node    nodeimage.Choice
	agent   *image.Image
	archive string // of the agent's image
}

// create makes the cluster: what dead runs left is removed, the images are built, the nodes are made of them and get what they need
// besides.
func (l *Lab) create(ctx context.Context) error {
	o := l.options
	if _, err := cluster.Reap(ctx, o.Engine, false, l.say); err != nil {
		o.Log.Say("what a dead run left could not all be removed: %s", err)
	}
	of, err := l.build(ctx)
	if err != nil {
		return err
	}
	handlers, files, err := l.prepareHandlers(ctx)
	if err != nil {
		return err
	}
	if err := l.createCluster(ctx, of, handlers); err != nil {
		return err
	}
	return l.load(ctx, of, files)
}

// build builds the images that are not there.
func (l *Lab) build(ctx context.Context) (of images, err error) {
	o := l.options
	spec := l.spec()
	runtime, err := cluster.RuntimeOf(spec.Runtime)
	if err != nil {
		return images{}, err
	}
	dir, err := os.MkdirTemp("", o.Run.Name("agent")+"-")
	if err != nil {
		return images{}, fmt.Errorf("making a folder for the agent's image: %w", err)
	}
	l.undo.Add("removing the agent's archive", func(context.Context) error { return os.RemoveAll(dir) })
	of.archive = filepath.Join(dir, "agent.tar")
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if of.node, err = nodeimage.Choose(groupCtx, o.Engine, o.NodeImage, spec.Versions, l.buildStep); err == nil {
			of.node, err = nodeimage.OnRuntime(groupCtx, o.Engine, of.node, runtime, spec.Bundles, l.buildStep)
		}
		return err
	})
	group.Go(func() (err error) {
		if of.agent, err = image.Build(groupCtx, architecture()); err != nil {
			return fmt.Errorf("building the agent: %w", err)
		}
		return of.agent.Save(of.archive)
	})
	if err := group.Wait(); err != nil {
		return images{}, err
	}
	o.Log.Say("node image: %s, %s; %s", of.node.Ref, of.node.From, of.node.Why)
	return of, nil
}

// createCluster makes the nodes and has Kubernetes run on them.
func (l *Lab) createCluster(ctx context.Context, of images, handlers []handler.Handler) error {
	o := l.options
	containerd, kubelet, err := handler.Patches(handlers)
	if err != nil {
		return err
	}
	l.Cluster, err = cluster.Create(ctx, cluster.Spec{
		Run: o.Run, Engine: o.Engine, Workers: o.Workers, Options: l.spec().Options,
		Image:    cluster.Image{Ref: of.node.Ref, From: of.node.From, Kubernetes: of.node.Kubernetes, Why: of.node.Why, Offline: of.node.Offline},
		AgentRef: of.agent.Ref(), AgentTar: of.archive, AgentKey: l.Key, LogDir: o.Report, Containerd: containerd, Kubelet: kubelet,
		Phase: l.phase, Log: l.say,
	})
	if err != nil {
		return err
	}
	if o.Keep {
		l.undo.Add("keeping the cluster", l.keep)
	} else {
		l.undo.Add("removing the cluster", l.remove)
	}
	return nil
}

// keep has the cluster outlive the run, and says how to look in.
func (l *Lab) keep(context.Context) error {
	if err := l.Cluster.Keep(); err != nil {
		return err
	}
	l.options.Log.Say("kept: export KUBECONFIG=%s, then kubectl get pods -A; `make clean-all` removes it", l.Cluster.Kubeconfig())
	return nil
}

func (l *Lab) remove(ctx context.Context) error {
	start := time.Now()
	defer func() { l.options.Log.Say("cluster removed (%.1fs)", time.Since(start).Seconds()) }()
	return l.Cluster.Delete(ctx)
}

// load brings the agent's image and the OCI handlers' files to every node.
func (l *Lab) load(ctx context.Context, of images, files []cluster.File) error {
	start := time.Now()
	l.AgentImage = of.agent.Ref()
	if err := l.Cluster.LoadImage(ctx, of.agent.Ref(), of.archive); err != nil {
		return err
	}
	l.options.Log.Say("agent image loaded into every node (%.1fs)", time.Since(start).Seconds())
	if len(files) == 0 {
		return nil
	}
	start = time.Now()
	if err := l.Cluster.Put(ctx, files...); err != nil {
		return err
	}
	l.options.Log.Say("OCI handlers brought to every node (%.1fs)", time.Since(start).Seconds())
	return nil
}

// spec is what the columns ask of the cluster that they share, in which they don't differ.
func (l *Lab) spec() axis.Spec { return l.Columns[0].Spec() }

// architecture is that of the nodes of a cluster that is made here.
func architecture() string { return runtime.GOARCH }

func (l *Lab) say(line string) { l.options.Log.Say("%s", line) }

// phase shows a phase of making the cluster when it has ended.
func (l *Lab) phase(name string, took time.Duration, done bool) {
	if done {
		l.options.Log.Say("cluster: %s (%.1fs)", name, took.Seconds())
	}
}

// buildStep shows a component of the node image, or what nodes get besides, when it has been built.
func (l *Lab) buildStep(s nodeimage.Step) {
	say := l.options.Log.Say
	switch {
	case s.N == 0 && s.Done && !s.Cached:
		say("%s (%.1fs)", s.Component, s.Took.Seconds())
	case s.N == 0 && s.Done:
		say("%s: cached", s.Component)
	case s.N == 0:
		say("%s ...", s.Component)
	case !s.Done:
		say("node image: %d of %d, %s ...", s.N, s.Of, s.Component)
	case s.Cached:
		say("node image: %d of %d, %s: cached", s.N, s.Of, s.Component)
	default:
		say("node image: %d of %d, %s (%.1fs)", s.N, s.Of, s.Component, s.Took.Seconds())
	}
}
