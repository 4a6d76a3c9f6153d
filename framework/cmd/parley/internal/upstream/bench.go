package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/image"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	"github.com/parley-k8s/parley/framework/internal/runid"
)

// Options say what to compare.
type Options struct {
	Engine    *engine.Engine
	Dir       string // takes the reports; made where it is missing
	NodeImage string // "" chooses one
	ProxyMode string // of kube-proxy; "" is iptables
	Workers   int
	Rounds    []string      // names of faults, and Healthy's; none is all, healthy first
	Focus     string        // a further expression that the specs' names match
	Select    string        // Parley's -select
	Procs     int           // that run the specs at once
	Limit     time.Duration // for one suite in one round
	Keep      bool          // leave the cluster there
	Progress  func(nodeimage.Step)
	Say       func(string) // is told what goes on, in one line each
}

// The files with the comparison.
const (
	JSONFile = "upstream.json"
	TextFile = "upstream.txt"
)

// bench is one comparison being made.
type bench struct {
	options  Options
	scratch  string
	programs string // the folder of what was built of Kubernetes
	cluster  *cluster.Cluster
	agent    string // its image
	injector injector

	testsDir, testsBinary string
}

// cleanupTimeout bounds each undoing, which goes on when the run is interrupted.
const cleanupTimeout = 2 * time.Minute

// Run builds what is missing, makes a cluster, has both suites judge it in each round and removes it. Where it is
// interrupted, the rounds that were done are returned with the error.
func Run(ctx context.Context, o Options) (c *Comparison, err error) {
	rounds, err := selectRounds(o.Rounds)
	if err != nil {
		return nil, err
	}
	if _, err := focus(o.Focus); err != nil {
		return nil, err
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	b := &bench{options: o}
	id, err := runid.New()
	if err != nil {
		return nil, err
	}
	if b.scratch, err = os.MkdirTemp("", id.Name("upstream")+"-"); err != nil {
		return nil, fmt.Errorf("making a folder for the comparison: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.scratch)) }()
	c = &Comparison{Started: time.Now()}
	if c.Kubernetes, err = Programs().Version(); err != nil {
		return nil, err
	}
	images, err := b.build(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.makeCluster(ctx, id); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.cleanUp(ctx)) }()
	o.Say("loading the specs' images into every node")
	if err := b.cluster.LoadImage(ctx, "the specs' images", images); err != nil {
		return nil, err
	}
	for _, s := range standIns {
		c.StandIns = append(c.StandIns, s.ref)
	}
	if err := b.readCluster(ctx, id, c); err != nil {
		return nil, err
	}
	for _, f := range rounds {
		round, err := b.round(ctx, f)
		if err != nil {
			return c, fmt.Errorf("the round %q: %w", f.Title, err)
		}
		c.Rounds = append(c.Rounds, round)
		c.compare()
		if err := save(o.Dir, c); err != nil {
			return c, err
		}
	}
	return c, nil
}

// selectRounds are the rounds by name, in the order in which they are run.
func selectRounds(names []string) ([]Fault, error) {
	all := append([]Fault{Healthy}, Faults...)
	if len(names) == 0 {
		return all, nil
	}
	var known []string
	for _, f := range all {
		known = append(known, f.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("%q is no round: the rounds are %s", n, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(f Fault) bool { return !slices.Contains(names, f.Name) }), nil
}

// build builds both suites and the specs' images, and returns the images' archive.
func (b *bench) build(ctx context.Context) (images string, err error) {
	o := b.options
	if b.programs, err = Programs().Build(ctx, o.Progress); err != nil {
		return "", err
	}
	if err := checkStandIns(ctx, b.programs); err != nil {
		return "", err
	}
	debian, err := nodeimage.DebianArchive(ctx, packages, o.Progress)
	if err != nil {
		return "", err
	}
	images = filepath.Join(b.scratch, "images.tar")
	if err := saveImages(b.programs, debian, images); err != nil {
		return "", err
	}
	o.Say("building Parley's run")
	return images, b.buildParley(ctx)
}

// makeCluster makes the cluster and brings the agent's image there.
func (b *bench) makeCluster(ctx context.Context, id runid.ID) error {
	o := b.options
	if _, err := cluster.Reap(ctx, o.Engine, false, o.Say); err != nil {
		o.Say("what a dead run left could not all be removed: " + err.Error())
	}
	choice, err := nodeimage.Choose(ctx, o.Engine, o.NodeImage, nodeimage.Versions{}, o.Progress)
	if err != nil {
		return err
	}
	agent, err := image.Build(ctx, runtime.GOARCH)
	if err != nil {
		return fmt.Errorf("building the agent: %w", err)
	}
	archive := filepath.Join(b.scratch, "agent.tar")
	if err := agent.Save(archive); err != nil {
		return err
	}
	b.cluster, err = cluster.Create(ctx, cluster.Spec{
		Run: id, Engine: o.Engine, Workers: o.Workers, Options: cluster.Options{ProxyMode: o.ProxyMode},
		Image:    cluster.Image{Ref: choice.Ref, From: choice.From, Kubernetes: choice.Kubernetes, Why: choice.Why, Offline: choice.Offline},
		AgentRef: agent.Ref(), AgentTar: archive, LogDir: o.Dir, Log: o.Say,
		Phase: func(name string, took time.Duration, done bool) {
			if done {
				o.Say(fmt.Sprintf("cluster: %s (%.1fs)", name, took.Seconds()))
			}
		},
	})
	if err != nil {
		return err
	}
	b.agent = agent.Ref()
	if err := b.cluster.LoadImage(ctx, b.agent, archive); err != nil {
		return errors.Join(err, b.cleanUp(ctx))
	}
	return nil
}

// cleanUp removes the cluster, or keeps it where that was asked for.
func (b *bench) cleanUp(ctx context.Context) error {
	if b.options.Keep {
		b.options.Say("kept: export KUBECONFIG=" + b.cluster.Kubeconfig() + "; `make clean-all` removes it")
		return b.cluster.Keep()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return b.cluster.Delete(ctx)
}

// readCluster reads what the faults, and a reader, have to know of the cluster.
func (b *bench) readCluster(ctx context.Context, id runid.ID, c *Comparison) error {
	facts, err := b.cluster.Facts(ctx)
	if err != nil {
		return fmt.Errorf("asking the cluster what it is: %w", err)
	}
	c.Cluster = fmt.Sprintf("Kubernetes %s, %d nodes, CNI %s, kube-proxy in %s mode", facts.Kubernetes, len(facts.Nodes), facts.CNI, facts.ProxyMode)
	list, err := b.cluster.Client().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the nodes: %w", err)
	}
	nodes, err := nodesOf(list.Items)
	if err != nil {
		return err
	}
	b.injector = injector{table: id.Name("fault"), nodes: nodes, command: b.cluster.NodeCommand}
	return nil
}

// round puts a fault on, has both suites judge, and lifts it.
func (b *bench) round(ctx context.Context, f Fault) (r Round, err error) {
	r = Round{Name: f.Name, Title: f.Title}
	var where []string
	for _, n := range f.affected(b.injector.nodes) {
		where = append(where, n.name)
	}
	if len(where) > 0 {
		r.Where = "on " + strings.Join(where, ", ")
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		err = errors.Join(err, b.injector.lift(ctx, f))
	}()
	if err := b.injector.inject(ctx, f); err != nil {
		return r, err
	}
	before := uint64(0)
	for _, one := range []struct {
		name string
		side *Side
		run  func(context.Context, string) (Side, error)
	}{{"upstream", &r.Upstream, b.runUpstream}, {"parley", &r.Parley, b.runParley}} {
		dir := filepath.Join(b.options.Dir, f.Name, one.name)
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
			return r, fmt.Errorf("making the folder of a suite's report: %w", err)
		}
		b.options.Say(fmt.Sprintf("%s: %s ...", f.Title, one.name))
		if *one.side, err = one.run(ctx, dir); err != nil {
			return r, err
		}
		total, err := b.injector.acted(ctx, f)
		if err != nil {
			return r, err
		}
		one.side.Acted, before = total-before, total
		b.options.Say(fmt.Sprintf("%s: %s: %d judged, %s (%.1fs)", f.Title, one.name, one.side.Judged, one.side.verdict(), float64(one.side.Wall)))
	}
	return r, nil
}

// save writes what is known so far.
func save(dir string, c *Comparison) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder of the comparison: %w", err)
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := WriteText(&text, c); err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(filepath.Join(dir, JSONFile), append(data, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, TextFile), []byte(text.String()), 0o644))
	if err != nil {
		return fmt.Errorf("writing the comparison: %w", err)
	}
	return nil
}
