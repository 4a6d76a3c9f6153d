package matrix

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/handler"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	"github.com/parley-k8s/parley/framework/internal/progress"
	"github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/reports"
)

// Options say which clusters are asked for, and on what terms.
type Options struct {
	Run     runid.ID
	Choices *axis.Choices // that the columns are of
	Columns []axis.Column
	// Existing says that the one cluster is the user's: nothing is made then.
	Existing bool

	Engine            string // by name; "" finds one
	Install           bool   // podman may be installed
	NodeImage         string // "" chooses one
	Workers           int
	Keep              bool
	Measure           bool          // with nothing else running
	JudgingEachColumn time.Duration // what judging one of the columns may take
	Budget            Budget
	Report            string // the folder of the reports
	// NotRun is told of a column that this host can't make and that was not asked for by name, with why.
	NotRun func(name, why string)
	Log    *progress.Log
}

// Plan says which clusters are judged, in which order, and with what engine they are made.
type Plan struct {
	Clusters []axis.Group   // each with the columns that share it
	Engine   *engine.Engine // nil for a cluster of the user's

	options Options
	slots   int // how many clusters are there at a time
}

// New plans a run: it finds the engine, leaves out what this host can't make, and refuses what the time does not suffice for, before
// anything is made.
func New(ctx context.Context, o Options) (*Plan, error) {
	p := &Plan{options: o, slots: 1}
	if o.Existing {
		p.Clusters = axis.Groups(o.Columns)
		return p, o.Budget.Fits(joinCluster + o.judging(len(o.Columns), len(p.Clusters)))
	}
	say := func(line string) { o.Log.Say("%s", line) }
	var err error
	if p.Engine, _, err = engine.Find(ctx, engine.Options{Want: o.Engine, Install: o.Install, Log: say}); err != nil {
		return nil, err
	}
	if !o.several() {
		o.Log.Say("engine: %s %s", p.Engine.Name, p.Engine.Version)
	}
	if err := p.fit(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// fit leaves out what this host can't make, and refuses what does not fit into its memory or the time that is given.
func (p *Plan) fit(ctx context.Context) error {
	o := p.options
	host, err := o.host(ctx, p.Engine)
	if err != nil {
		return err
	}
	columns, notRun, err := possible(o.Columns, host)
	if err != nil {
		return err
	}
	for _, n := range notRun {
		o.NotRun(n.Name, n.Reason)
	}
	p.Clusters = axis.Groups(columns)
	if o.several() {
		if p.slots, err = o.atOnce(ctx, len(p.Clusters)); err != nil {
			return err
		}
	}
	building, err := p.timeToBuild(ctx, columns)
	if err != nil {
		return err
	}
	return o.Budget.Fits(building + o.making(len(p.Clusters), p.slots) + o.judging(len(columns), len(p.Clusters)))
}

// several says whether several clusters are asked for.
func (o Options) several() bool { return len(axis.Groups(o.Columns)) > 1 }

// Close forgets the engine: its private configuration is removed.
func (p *Plan) Close() {
	if p.Engine != nil {
		_ = p.Engine.Close() // only its temporary configuration
	}
}

// host is what is known of this host, as far as one of the columns asks for something.
func (o Options) host(ctx context.Context, e *engine.Engine) (axis.Host, error) {
	asks := slices.ContainsFunc(o.Columns, func(c axis.Column) bool { return len(c.Values()) > 0 })
	if !asks || IsChild() { // the parent has looked
		return axis.Host{}, nil
	}
	host := axis.HostOf(cluster.Host(ctx), e.Remote)
	host.Unavailable = o.Choices.Probe(ctx, o.Columns)
	return host, ctx.Err()
}

// possible are the columns that this host can make. One that it can't is an error if it was asked for by name.
func possible(columns []axis.Column, host axis.Host) (made []axis.Column, not []reports.NotRun, err error) {
	var problems []string
	for _, c := range columns {
		switch why := c.Lacks(host); {
		case why == "":
			made = append(made, c)
		case c.ByName:
			problems = append(problems, why)
		default:
			not = append(not, reports.NotRun{Name: c.Name(), Reason: strings.TrimPrefix(why, c.Name()+": ")})
		}
	}
	switch {
	case len(problems) > 0:
		return nil, nil, fmt.Errorf("this host can't make what was asked for by name: %s; leave it out", strings.Join(problems, "; "))
	case len(made) == 0 && len(not) > 0:
		return nil, nil, fmt.Errorf("this host can make none of these clusters: %s", not[0].Reason)
	}
	return made, not, nil
}

// timeToBuild is the time that it takes to build what the columns need and is not there, one after the other: node images, and the
// programs of OCI handlers.
func (p *Plan) timeToBuild(ctx context.Context, columns []axis.Column) (time.Duration, error) {
	type image struct {
		of      nodeimage.Versions
		runtime string
	}
	planned, need := map[image]bool{}, map[string]time.Duration{} // by what is built
	for _, c := range columns {
		spec := c.Spec()
		for _, h := range handler.All() {
			if h.Built() && spec.Handler == h.Name {
				need["OCI handler "+h.Name] = buildHandler
			}
		}
		i := image{spec.Versions, spec.Runtime}
		if planned[i] {
			continue
		}
		planned[i] = true
		runtime, err := cluster.RuntimeOf(i.runtime)
		if err != nil {
			return 0, err
		}
		node, err := nodeimage.Plan(ctx, p.Engine, p.options.NodeImage, i.of)
		if err == nil && node.From == nodeimage.FromBuild {
			need[node.Ref] = buildNodeImage
		}
		if err == nil {
			node, err = nodeimage.PlanRuntime(ctx, p.Engine, node, runtime, spec.Bundles)
		}
		switch {
		case err != nil && len(p.options.Columns) > 1:
			return 0, fmt.Errorf("%s: %w", c.Name(), err)
		case err != nil:
			return 0, err
		}
		if node.From == nodeimage.FromBuild && runtime.Layer != nil {
			need[node.Ref+" with "+runtime.Name] = buildRuntimeImage
		}
	}
	var all time.Duration
	for _, d := range need {
		all += d
	}
	return all, nil
}
