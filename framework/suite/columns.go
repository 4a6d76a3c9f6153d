package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/mem"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/framework/internal/knowndiff"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
	"github.com/parley-k8s/parley/reports"
)

const (
	// nodeMemory is what a node of a cluster is given room for, in bytes. Three nodes with the world on them took 1.7 GiB.
	nodeMemory = 1 << 30
	// columnReserve is how much earlier a column ends by go test's -timeout than the whole.
	columnReserve = 20 * time.Second
)

// isMatrix says whether several clusters are asked for.
func (r *Run) isMatrix() bool { return len(axis.Groups(r.columns)) > 1 }

// hostFor is what is known of this host, as far as one of the columns asks for something.
func (r *Run) hostFor(ctx context.Context) (axis.Host, error) {
	asks := false
	for _, c := range r.columns {
		asks = asks || len(c.Values()) > 0
	}
	if !asks || isColumn() { // the matrix has looked
		return axis.Host{}, nil
	}
	e, _, err := engine.Find(ctx, engine.Options{Want: r.config.Engine, Install: r.config.Install, Log: func(s string) { r.progress.say("%s", s) }})
	if err != nil {
		return axis.Host{}, err
	}
	defer func() { _ = e.Close() }() // only its temporary configuration
	host := axis.HostOf(cluster.Host(ctx), e.Remote)
	host.Unavailable = r.config.Axes.Probe(ctx, r.columns)
	return host, nil
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

// judgeColumns makes and judges a cluster for each column: each is judged alone, and prepared while others are where the host bears it.
func (r *Run) judgeColumns(t *testing.T) {
	if err := r.runColumns(); err != nil {
		r.mu.Lock()
		r.fatal = r.orInterrupted(err)
		r.mu.Unlock()
		t.Fatal(err)
	}
	var clusters []reports.Cluster
	for _, c := range r.runs {
		clusters = append(clusters, c.clusters()...)
	}
	for _, of := range clusters {
		t.Run(of.Name, func(t *testing.T) {
			if of.Interrupted != "" {
				t.Error(of.Interrupted)
			}
			for _, result := range of.Results {
				t.Run(result.ID, func(t *testing.T) {
					if p := result.Proof; p != nil && p.State == reports.Refuted {
						t.Error("it can't be relied on: " + p.Reason)
					}
					show(t, result, r.config.Strict)
				})
			}
		})
	}
}

func (r *Run) runColumns() error {
	host, err := r.hostFor(r.ctx)
	if err != nil {
		return err
	}
	columns, not, err := possible(r.columns, host)
	if err != nil {
		return err
	}
	r.report.NotRun = not
	for _, n := range not {
		r.progress.say("not run: %s: %s", n.Name, n.Reason)
	}
	groups := axis.Groups(columns)
	slots, err := r.atOnce(r.ctx, len(groups))
	if err != nil {
		return err
	}
	building, err := r.timeToBuild(r.ctx, columns)
	if err != nil {
		return err
	}
	sharing := time.Duration(len(columns)-len(groups)) * (otherWorld + r.timeToJudge())
	if err := r.fits(building + r.timeOfColumns(len(groups), slots) + sharing); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", r.id.Name("matrix")+"-")
	if err != nil {
		return fmt.Errorf("making a folder for the columns' turns: %w", err)
	}
	defer os.RemoveAll(dir)
	names, width := []string{}, 0
	for _, g := range groups {
		names, width = append(names, g.Name()), max(width, len(g.Name()))
		r.runs = append(r.runs, &columnRun{group: g, dir: filepath.Join(r.config.Report, g.Name())})
	}
	how := "the next is made while one is judged"
	if quiet() {
		how = "none is made while one is judged, for want of cores"
	}
	r.progress.say("matrix: %s; %d at once, %s", strings.Join(names, ", "), slots, how)
	free := make(chan struct{}, slots)
	var group sync.WaitGroup
	for _, c := range r.runs {
		free <- struct{}{} // in the order of the columns
		group.Go(func() {
			defer func() { <-free }()
			say := func(line string) { r.progress.say("%-*s  %s", width, c.group.Name(), line) }
			c.judge(r.ctx, filepath.Join(dir, "turn"), r.timeLeft(), say)
			if c.trouble != "" {
				say(c.trouble)
			}
		})
	}
	group.Wait()
	return nil
}

// timeLeft is what a column may take of go test's -timeout, 0 for any time.
func (r *Run) timeLeft() time.Duration {
	limit := timeout()
	if limit == 0 {
		return 0
	}
	// Never 0, which would be no limit.
	return max(limit-time.Since(r.started)-columnReserve, time.Second).Round(time.Second)
}

// atOnce is how many of n clusters are there at a time: as many as memory has room for, and no more than one to be
// judged and one being prepared for each two cores. With -measure it is one: nothing else may run then; and so where none is made
// while another is judged, since two that are made at once take as long as one after the other.
func (r *Run) atOnce(ctx context.Context, n int) (int, error) {
	memory, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading how much memory is available: %w", err)
	}
	each := uint64(r.config.Workers+1) * nodeMemory
	room := int(memory.Available / each)
	switch {
	case r.config.Keep && room < n:
		return 0, fmt.Errorf("%d kept clusters take %d GiB and %d are available: leave -keep out, or ask for fewer", n, uint64(n)*each>>30, memory.Available>>30)
	case r.config.Measure, quiet():
		return 1, nil
	}
	return max(1, min(n, room, 1+runtime.NumCPU()/2)), nil
}

// timeToBuild is the time that it takes to build the columns' node images that are not there, which is done one after the
// other.
func (r *Run) timeToBuild(ctx context.Context, columns []axis.Column) (time.Duration, error) {
	e, _, err := engine.Find(ctx, engine.Options{Want: r.config.Engine, Install: r.config.Install, Log: func(s string) { r.progress.say("%s", s) }})
	if err != nil {
		return 0, err
	}
	defer func() { _ = e.Close() }() // only its temporary configuration
	type made struct {
		of      nodeimage.Versions
		runtime string
	}
	asked, need := map[made]bool{}, map[string]time.Duration{} // of each image that is built
	for _, c := range columns {
		spec := c.Spec()
		m := made{spec.Versions, spec.Runtime}
		if asked[m] {
			continue
		}
		asked[m] = true
		runtime, err := cluster.RuntimeOf(m.runtime)
		if err != nil {
			return 0, err
		}
		node, err := nodeimage.Plan(ctx, e, r.config.NodeImage, m.of)
		if err == nil && node.From == nodeimage.FromBuild {
			need[node.Ref] = buildNodeImage
		}
		if err == nil {
			node, err = nodeimage.PlanRuntime(ctx, e, node, runtime, spec.Bundles)
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", c.Name(), err)
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

// timeOfColumns is the time that n columns take, for the question whether it fits go test's -timeout.
func (r *Run) timeOfColumns(n, slots int) time.Duration {
	judging := time.Duration(n) * r.timeToJudge()
	if slots == 1 {
		return judging + time.Duration(n)*makeCluster
	}
	// All but the first are made while another is judged, and both take longer by it.
	return judging + makeCluster + time.Duration(n-1)*makeCluster/2
}

// finishMatrix puts the columns' reports together, writes them, and says how it went.
func (r *Run) finishMatrix(code int) int {
	var codes []int
	for _, c := range r.runs {
		r.report.Clusters = append(r.report.Clusters, c.clusters()...)
		codes = append(codes, c.exit)
	}
	r.report.Ended = time.Now()
	var err error
	if r.shipped, err = knowndiff.In(r.report); err != nil {
		r.progress.say("%s", err)
		codes = append(codes, reports.ExitUnjudged)
	}
	r.report.MarkKnown(r.knownAll(), r.report.Ended)
	r.report.MarkWarnings(r.config.Strict)
	if err := reports.SaveMatrix(r.config.Report, r.report); err != nil {
		r.progress.say("%s", err)
		codes = append(codes, reports.ExitUnjudged)
	}
	if len(r.runs) == 0 {
		r.progress.say("nothing was judged: %s", r.report.Interrupted)
	} else {
		r.progress.comparison(r.report, r.config.Report)
	}
	if worst := worst(append(codes, r.report.ExitCode(r.config.Strict))); worst != reports.ExitPassed {
		return worst
	}
	return code
}

// worst is the gravest of exit codes: that something failed goes before that something could not be judged.
func worst(codes []int) int {
	code := reports.ExitPassed
	for _, c := range codes {
		switch {
		case c == reports.ExitFailed:
			return c
		case c != reports.ExitPassed:
			code = reports.ExitUnjudged
		}
	}
	return code
}

var errBenchMatrix = errors.New("a benchmark is of one cluster: ask for one value of each axis")
