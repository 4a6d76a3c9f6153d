package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/parley-k8s/parley/fixtures/agent/image"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/cluster"
	"github.com/parley-k8s/parley/framework/engine"
	"github.com/parley-k8s/parley/framework/measure"
	"github.com/parley-k8s/parley/framework/nodeimage"
	"github.com/parley-k8s/parley/framework/run"
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
	building chan built // of the reference implementations' image; nil where they are not needed

	mu    sync.Mutex
	undos []*undo

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
func (l *lab) tearDown(ctx context.Context) {
	for {
		l.mu.Lock()
		if len(l.undos) == 0 {
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

// setUp finds or makes the cluster and puts the world that the roles need on it.
func (r *Run) setUp(roles map[world.Role]bool) error {
	l := &lab{run: r}
	r.lab = l
	l.startReference(roles)
	var image string
	var err error
	if r.config.existing() {
		image, err = l.join(r.ctx)
	} else {
		image, err = l.make(r.ctx)
	}
	if err != nil {
		return r.orInterrupted(err)
	}
	l.config, l.kube = l.cluster.Config(), l.cluster.Client()
	facts, err := l.cluster.Facts(r.ctx)
	if err != nil {
		return r.orInterrupted(fmt.Errorf("asking the cluster what it is: %w", err))
	}
	if err := l.planWorld(r.ctx, facts, image); err != nil {
		return err
	}
	if err := l.bringReference(r.ctx); err != nil {
		return r.orInterrupted(err)
	}
	r.openReport(facts)
	l.cast = newCast(l.config, l.kube, l.plan)
	l.undo("closing the agents' streams", func(context.Context) error { l.cast.close(); return nil })
	l.explainMissing()
	if err := l.castOutside(); err != nil {
		return err
	}
	start := time.Now()
	if err := l.apply(r.ctx, roles); err != nil {
		return r.orInterrupted(fmt.Errorf("the world could not be set up: %w", err))
	}
	r.progress.say("world: %d agents run (%.1fs)", len(l.cast.agents), time.Since(start).Seconds())
	return nil
}

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
	if err := l.run.fits(time.Minute + l.run.timeToJudge()); err != nil {
		return "", err
	}
	if l.cluster, err = cluster.Existing(ctx, config.Kubeconfig, config.Context); err != nil {
		return "", err
	}
	if err := rights(ctx, l.cluster.Client()); err != nil {
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
	if _, _, err := possible(l.run.columns, host); err != nil {
		return "", err
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
	runtime, err := cluster.RuntimeOf(config.Runtime)
	if err != nil {
		return "", err
	}
	node, err := nodeimage.Plan(ctx, l.engine, config.NodeImage, versionsOf(l.run.columns[0]))
	if err != nil {
		return "", err
	}
	need := makeCluster + l.run.timeToJudge()
	if node.From == nodeimage.FromBuild {
		need += buildNodeImage
	}
	if node, err = nodeimage.PlanRuntime(ctx, l.engine, node, runtime, config.Bundles); err != nil {
		return "", err
	}
	if node.From == nodeimage.FromBuild && runtime.Layer != nil {
		need += buildRuntimeImage
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
		if node, err = nodeimage.Choose(groupCtx, l.engine, config.NodeImage, versionsOf(l.run.columns[0]), l.run.buildStep); err == nil {
			node, err = nodeimage.OnRuntime(groupCtx, l.engine, node, runtime, config.Bundles, l.run.buildStep)
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
	l.cluster, err = cluster.Create(ctx, cluster.Spec{
		Run: l.run.id, Engine: l.engine, Workers: config.Workers, Family: config.Family, ProxyMode: config.ProxyMode, Runtime: config.Runtime,
		Image:    cluster.Image{Ref: node.Ref, From: node.From, Kubernetes: node.Kubernetes, Why: node.Why, Offline: node.Offline},
		AgentRef: agent.Ref(), AgentTar: archive, LogDir: config.Report,
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
	return agent.Ref(), nil
}

// rolesNeeded are the roles that the chosen requirements and, with -prove, their controls talk about.
func (r *Run) rolesNeeded() map[world.Role]bool {
	need := map[world.Role]bool{}
	if r.config.Measure {
		for _, role := range measure.Roles {
			need[role] = true
		}
	}
	for _, q := range r.all {
		if r.left[q.ID] != "" {
			continue
		}
		for _, role := range append(append([]world.Role(nil), q.Roles...), q.Wants...) {
			need[role] = true
		}
		if !r.config.Prove {
			continue
		}
		if q.Control.Variant != nil {
			for _, role := range q.Control.Variant.Roles {
				need[role] = true
			}
		} else {
			need[world.Node], need[world.Liar] = true, true
		}
	}
	return need
}

// planWorld places the world on the cluster's nodes.
func (l *lab) planWorld(ctx context.Context, facts cluster.Facts, agentImage string) error {
	l.plan = world.Plan{Prefix: l.run.id.Name(), Labels: map[string]string{run.Label: string(l.run.id)}, Image: agentImage,
		Tolerate: l.cluster.Owned()}
	for _, s := range split(l.run.config.PullSecrets) {
		l.plan.PullSecrets = append(l.plan.PullSecrets, path.Base(s))
	}
	for _, node := range facts.Nodes {
		if !node.Ready {
			continue
		}
		ordinary := len(node.Taints) == 0
		if ordinary {
			l.plan.Workers = append(l.plan.Workers, node.Name)
		}
		if ordinary || l.plan.Tolerate {
			l.plan.Nodes = append(l.plan.Nodes, node.Name)
		}
	}
	if len(l.plan.Workers) == 0 {
		return errors.New("no node of the cluster takes ordinary pods: " + whyNoNode(ctx, l.kube))
	}
	if l.families = facts.Families; len(l.families) == 0 {
		return errors.New("the cluster shows no address family: neither its pods nor the kubernetes Service have an IP")
	}
	dns := lookForDNS(ctx, l.kube, l.plan.Workers[0])
	l.plan.ClusterDNS, l.plan.Domain = dns.server, dns.domain
	return nil
}
