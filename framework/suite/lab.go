package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/parley-k8s/parley/fixtures/agent/image"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/handler"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	"github.com/parley-k8s/parley/reports"
)

// lab is a cluster with the world on it, and how to undo both.
type lab struct {
	run      *Run
	engine   *engine.Engine
	cluster  *cluster.Cluster
	config   *rest.Config
	kube     kubernetes.Interface
	plan     world.Plan
	cast     *cast
	families []corev1.IPFamily
	facts    cluster.Facts
	image    string               // the agent's
	class    *nodev1.RuntimeClass // what the pods run as; nil where that is left to the cluster
	building chan built           // of the reference implementations' image; nil where they are not needed

	mu    sync.Mutex
	undos []*undo
	// busyAt is when the nodes were last seen too busy for what was judged.
	busyAt time.Time

	witnessed  sync.Once
	witnessErr error
	explainer  explainer
}

type undo struct {
	what string
	do   func(context.Context) error
}

// undo keeps what must be undone when the run ends; forget is called when it was undone before.
func (l *lab) undo(what string, do func(context.Context) error) (forget func()) {
	u := &undo{what, do}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undos = append(l.undos, u)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, other := range l.undos {
			if other == u {
				l.undos = append(l.undos[:i], l.undos[i+1:]...)
				return
			}
		}
	}
}

// undoUnlessKept undoes what was put on the cluster; on one that is kept for a look it stays.
func (l *lab) undoUnlessKept(what string, do func(context.Context) error) {
	if !l.run.config.Keep {
		l.undo(what, do)
	}
}

// tearDown undoes everything, the last first. What could not be undone is said, and the rest still done.
func (l *lab) tearDown(ctx context.Context) { l.tearDownTo(ctx, 0) }

// tearDownTo undoes what came after the first n things that there are to undo.
func (l *lab) tearDownTo(ctx context.Context, n int) {
	for {
		l.mu.Lock()
		if len(l.undos) <= n {
			l.mu.Unlock()
			return
		}
		last := l.undos[len(l.undos)-1]
		l.undos = l.undos[:len(l.undos)-1]
		l.mu.Unlock()
		if err := last.do(ctx); err != nil {
			l.run.progress.say("%s failed: %s", last.what, err)
		}
	}
}

// faultsAllowed says whether controls may inject faults: on clusters that the suite made, or where the
// user says so.
func (l *lab) faultsAllowed() bool { return l.cluster.Owned() || l.run.config.Faults }

// orInterrupted prefers the reason why the run was ended to what broke because of it.
func (r *Run) orInterrupted(err error) error {
	if cause := context.Cause(r.ctx); cause != nil {
		return cause
	}
	return err
}

// join takes up a cluster of the user's.
func (l *lab) join(ctx context.Context) (agentImage string, err error) {
	config := l.run.config
	if err := l.run.fits(time.Minute + l.run.timeOfShared(len(l.run.columns))); err != nil {
		return "", err
	}
	if l.cluster, err = cluster.Existing(ctx, config.Kubeconfig, config.Context); err != nil {
		return "", err
	}
	need := needed
	if l.run.columns[0].Spec().Handler != "" {
		need = append(slices.Clone(needed), neededOfHandlers)
	}
	if err := rights(ctx, l.cluster.Client(), need); err != nil {
		return "", err
	}
	if config.AgentImage == "" {
		return "", errors.New("a cluster of yours needs the agent's image: bring it there with `parley image push REF` and name it with -agent-image REF")
	}
	return config.AgentImage, nil
}

// make makes a cluster.
func (l *lab) make(ctx context.Context) (agentImage string, err error) {
	config, say := l.run.config, l.run.progress.say
	host, err := l.run.hostFor(ctx)
	if err != nil {
		return "", err
	}
	var notRun []reports.NotRun
	if l.run.columns, notRun, err = possible(l.run.columns, host); err != nil {
		return "", err
	}
	for _, n := range notRun {
		l.run.notRun(n.Name, n.Reason)
	}
	l.engine, _, err = engine.Find(ctx, engine.Options{Want: config.Engine, Install: config.Install, Log: func(s string) { say("%s", s) }})
	if err != nil {
		return "", err
	}
	l.undo("removing the engine's private configuration", func(context.Context) error { return l.engine.Close() })
	say("engine: %s %s", l.engine.Name, l.engine.Version)
	if _, err := cluster.Reap(ctx, l.engine, false, func(s string) { say("%s", s) }); err != nil {
		say("what a dead run left could not all be removed: %s", err)
	}
	spec := l.run.columns[0].Spec() // those that share a cluster differ in nothing that counts here
	runtime, err := cluster.RuntimeOf(spec.Runtime)
	if err != nil {
		return "", err
	}
	node, err := nodeimage.Plan(ctx, l.engine, config.NodeImage, spec.Versions)
	if err != nil {
		return "", err
	}
	need := makeCluster + l.run.timeOfShared(len(l.run.columns))
	if node.From == nodeimage.FromBuild {
		need += buildNodeImage
	}
	if node, err = nodeimage.PlanRuntime(ctx, l.engine, node, runtime, spec.Bundles); err != nil {
		return "", err
	}
	if node.From == nodeimage.FromBuild && runtime.Layer != nil {
		need += buildRuntimeImage
	}
	for _, h := range handler.All() {
		if h.Built() && slices.ContainsFunc(l.run.columns, func(c axis.Column) bool { return c.Spec().Handler == h.Name }) {
			need += buildHandler
		}
	}
	if err := l.run.fits(need); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", l.run.id.Name("agent")+"-")
	if err != nil {
		return "", fmt.Errorf("making a folder for the agent's image: %w", err)
	}
	l.undo("removing the agent's archive", func(context.Context) error { return os.RemoveAll(dir) })
	archive := filepath.Join(dir, "agent.tar")

	var agent *image.Image
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if node, err = nodeimage.Choose(groupCtx, l.engine, config.NodeImage, spec.Versions, l.run.buildStep); err == nil {
			node, err = nodeimage.OnRuntime(groupCtx, l.engine, node, runtime, spec.Bundles, l.run.buildStep)
		}
		return err
	})
	group.Go(func() (err error) {
		if agent, err = image.Build(groupCtx, hostArch()); err != nil {
			return fmt.Errorf("building the agent: %w", err)
		}
		return agent.Save(archive)
	})
	if err := group.Wait(); err != nil {
		return "", err
	}
	say("node image: %s, %s; %s", node.Ref, node.From, node.Why)
	handlers, files, err := l.prepareHandlers(ctx)
	if err != nil {
		return "", err
	}
	containerd, kubelet, err := handler.Patches(handlers)
	if err != nil {
		return "", err
	}
	l.cluster, err = cluster.Create(ctx, cluster.Spec{
		Run: l.run.id, Engine: l.engine, Workers: config.Workers, Options: spec.Options,
		Image:    cluster.Image{Ref: node.Ref, From: node.From, Kubernetes: node.Kubernetes, Why: node.Why, Offline: node.Offline},
		AgentRef: agent.Ref(), AgentTar: archive, LogDir: config.Report, Containerd: containerd, Kubelet: kubelet,
		Phase: l.run.phase, Log: func(s string) { say("%s", s) },
	})
	if err != nil {
		return "", err
	}
	if config.Keep {
		l.undo("keeping the cluster", func(context.Context) error {
			if err := l.cluster.Keep(); err != nil {
				return err
			}
			say("kept: export KUBECONFIG=%s, then kubectl get pods -A; `make clean-all` removes it", l.cluster.Kubeconfig())
			return nil
		})
	} else {
		l.undo("removing the cluster", func(ctx context.Context) error {
			start := time.Now()
			defer func() { say("cluster removed (%.1fs)", time.Since(start).Seconds()) }()
			return l.cluster.Delete(ctx)
		})
	}
	start := time.Now()
	if err := l.cluster.LoadImage(ctx, agent.Ref(), archive); err != nil {
		return "", err
	}
	say("agent image loaded into every node (%.1fs)", time.Since(start).Seconds())
	if len(files) > 0 {
		start := time.Now()
		if err := l.cluster.Put(ctx, files...); err != nil {
			return "", err
		}
		say("OCI handlers brought to every node (%.1fs)", time.Since(start).Seconds())
	}
	return agent.Ref(), nil
}
