package suite

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/gotest"
	"github.com/parley-k8s/parley/framework/internal/handler"
	"github.com/parley-k8s/parley/framework/internal/judge"
	"github.com/parley-k8s/parley/framework/internal/knowndiff"
	"github.com/parley-k8s/parley/framework/internal/lab"
	"github.com/parley-k8s/parley/framework/internal/matrix"
	"github.com/parley-k8s/parley/framework/internal/measure"
	"github.com/parley-k8s/parley/framework/internal/stage"
	"github.com/parley-k8s/parley/reports"
)

// judge judges the clusters that were asked for: one in this process, several each in a process of its own, which comes here
// with one.
func (r *Run) judge(t *testing.T) error {
	if err := reports.Forget(r.config.Report); err != nil {
		return err
	}
	plan, err := matrix.New(r.ctx, r.matrixOptions())
	if err != nil {
		return r.orInterrupted(err)
	}
	if r.several() {
		return r.judgeClusters(t, plan)
	}
	return r.judgeCluster(t, plan)
}

// judgeClusters has each cluster judged by a process of its own, and tells go test of what they found out.
func (r *Run) judgeClusters(t *testing.T, plan *matrix.Plan) error {
	defer plan.Close()
	found, err := plan.Judge(r.ctx)
	if err != nil {
		return r.orInterrupted(err)
	}
	r.report.Clusters, r.codes, r.judged = found.Clusters, found.Codes, true
	for _, of := range found.Clusters {
		t.Run(of.Name, func(t *testing.T) {
			if of.Interrupted != "" {
				t.Error(of.Interrupted)
			}
			for _, result := range of.Results {
				t.Run(result.ID, func(t *testing.T) {
					if p := result.Proof; p != nil && p.State == reports.Refuted {
						t.Error("it can't be relied on: " + p.Reason)
					}
					judge.Show(t, result, r.config.Strict)
				})
			}
		})
	}
	return nil
}

// judgeCluster makes or joins the cluster and judges its columns, one after the other, each on a world of its own.
func (r *Run) judgeCluster(t *testing.T, plan *matrix.Plan) error {
	var err error
	if r.lab, err = lab.Open(r.ctx, r.labOptions(plan, r.rolesOf(r.columns))); err != nil {
		return err
	}
	if !r.shared() {
		return r.judgeColumn(t, r.lab.Columns[0], 0)
	}
	if err := r.lock(); err != nil { // the worlds come later, each when its column is judged
		return err
	}
	for i, c := range r.lab.Columns {
		if r.ctx.Err() != nil {
			return nil // why is the report's to tell
		}
		t.Run(c.Name(), func(t *testing.T) {
			r.log.Prefix(c.Name())
			defer r.log.Prefix("")
			if i+1 < len(r.lab.Columns) {
				defer r.leave(c) // once the column's part of the report is complete
			}
			switch err := r.judgeColumn(t, c, i); {
			case notHere(c, err): // what keeps one column from being judged keeps no other
				t.Skip(err)
			case err != nil:
				t.Fatal(err)
			}
		})
	}
	return nil
}

// judgeColumn judges the i-th column of the cluster: it deploys the world and has everything judged on it.
func (r *Run) judgeColumn(t *testing.T, c axis.Column, i int) (err error) {
	catalogue, record := r.catalogue(c), judge.NewRecord(r.nameOf(c), c.Values())
	defer func() { r.complete(c, record, catalogue, err) }()
	if err := reports.Forget(r.dirOf(c)); err != nil {
		return err
	}
	roles := r.rolesOf([]axis.Column{c})
	r.stage = stage.New(r.lab, r.stageOptions(c, i, roles))
	defer func() {
		nodes := nodesOf(r.stage)
		record.Change(func(of *reports.Cluster) { of.Nodes = nodes })
	}()
	if err := r.stage.Prepare(r.ctx); err != nil {
		return r.orInterrupted(err)
	}
	facts := append(r.lab.ReportFacts(), r.stage.Facts()...)
	record.Change(func(of *reports.Cluster) { of.Facts = facts })
	known, err := knowndiff.In(&reports.Report{Clusters: []reports.Cluster{{Name: r.nameOf(c), Values: c.Values(), Facts: facts}}})
	if err != nil {
		return err
	}
	if err := r.stage.Deploy(r.ctx); err != nil {
		return r.orInterrupted(err)
	}
	if err := r.lock(); err != nil {
		return err
	}
	j := judge.New(r.stage, record, judge.Options{
		Catalogue: catalogue, Strict: r.config.Strict, Rounds: gotest.Count(), User: r.lab.User,
		Prove: r.config.Prove, ProveOnly: r.proveOnly, ProveWithin: r.config.ProveWithin, ProveSeed: r.config.ProveSeed,
		Features: r.config.Features, Known: slices.Concat(r.known, known), Report: r.config.Report, Folder: r.folderOf(c), Log: r.log,
	})
	for n := range gotest.Count() {
		if n > 0 && r.ctx.Err() != nil {
			break // what the rounds before found stays in the report
		}
		if gotest.Count() > 1 {
			r.log.Say("round %d of %d", n+1, gotest.Count())
		}
		j.Round(r.ctx, t)
	}
	r.measure(record, catalogue)
	return nil
}

// nodesOf are the nodes that are not judged like the others, as a report has them.
func nodesOf(s *stage.Stage) (all []reports.NodeFinding) {
	for _, f := range s.Nodes() {
		all = append(all, reports.NodeFinding(f))
	}
	return all
}

// lock waits until no other cluster of a matrix is judged. It is held until what was made is removed.
func (r *Run) lock() (err error) {
	if r.unlock == nil {
		r.unlock, err = matrix.Lock(r.ctx, r.log)
	}
	return err
}

// notHere says whether a column is not run, since the nodes turned out not to have its handler. One that was asked for by its name is
// an error.
func notHere(c axis.Column, err error) bool {
	var missing *stage.HandlerMissing
	return errors.As(err, &missing) && !c.ByName
}

// complete puts what was found out of a column into the report.
func (r *Run) complete(c axis.Column, record *judge.Record, catalogue judge.Catalogue, err error) {
	if notHere(c, err) {
		r.notRun(c.Name(), err.Error())
		return
	}
	interrupted := ""
	if cause := errors.Join(context.Cause(r.ctx), err); cause != nil {
		interrupted = r.orInterrupted(cause).Error()
	}
	r.judged = r.judged || r.shared() || record.Judged()
	of := record.Complete(catalogue, interrupted)
	if r.shared() {
		of.Interrupted = interrupted
	}
	r.report.Clusters = append(r.report.Clusters, of)
}

// notRun notes a column that can't be had here and was not asked for by name.
func (r *Run) notRun(name, why string) {
	r.report.NotRun = append(r.report.NotRun, reports.NotRun{Name: name, Reason: why})
	r.log.Say("not run: %s: %s", name, why)
}

// leaveWithin bounds the removal of a column's objects, of which the API server only has to be told.
const leaveWithin = time.Minute

// leave removes a column's world and waits until it is gone. An interrupt does not end the removal, so that nothing is forgotten.
func (r *Run) leave(c axis.Column) {
	if r.stage == nil || r.ctx.Err() != nil {
		return // all is removed in the end
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), leaveWithin)
	defer cancel()
	r.stage.Close(ctx)
	if err := r.stage.Gone(r.ctx); err != nil {
		r.log.Say("the world of %s could not be removed: %s", c.Name(), err)
	}
}

// measureRows is what measuring takes, for the question whether it fits go test's -timeout.
const measureRows = time.Minute

// measure measures the cluster's paths where that was asked for: after the verdicts, when nothing else runs.
func (r *Run) measure(record *judge.Record, catalogue judge.Catalogue) {
	if !r.config.Measure || r.ctx.Err() != nil {
		return
	}
	field := measure.Field{Players: r.stage.Players(), World: r.stage.World(), Kube: r.lab.Cluster.Client(), Family: r.stage.Families()[0], Port: catalogue.FreePort(), Say: r.log.Say}
	paths, err := field.Paths(r.ctx)
	if err != nil {
		r.log.Say("what measuring made could not all be removed: %s", err)
	}
	record.Change(func(of *reports.Cluster) { of.Paths = paths })
}

// several says whether several clusters are asked for, shared whether several columns are, on one cluster.
func (r *Run) several() bool { return len(axis.Groups(r.columns)) > 1 }
func (r *Run) shared() bool  { return len(r.columns) > 1 && !r.several() }

// nameOf is the name of a column in the report: of the only one the cluster's.
func (r *Run) nameOf(c axis.Column) string {
	if r.shared() {
		return c.Name()
	}
	return r.lab.Cluster.Name()
}

// folderOf is the folder of a column that shares the cluster, within that of the reports; "" where there is one column. dirOf is its
// path.
func (r *Run) folderOf(c axis.Column) string {
	if !r.shared() {
		return ""
	}
	return c.Name()
}

func (r *Run) dirOf(c axis.Column) string { return filepath.Join(r.config.Report, r.folderOf(c)) }

// catalogue is what runs on the column.
func (r *Run) catalogue(c axis.Column) judge.Catalogue {
	name := c.Spec().Handler
	if name == "" || name == handler.Default && !r.config.existing() {
		return judge.NewCatalogue(r.chapters, r.chosen)
	}
	return judge.NewCatalogue(r.chapters, r.chosen).UnderHandler()
}

// rolesOf are the roles that what runs on the columns asks for.
func (r *Run) rolesOf(columns []axis.Column) world.Roles {
	need := world.Roles{}
	if r.config.Measure {
		need.Want(world.Once, measure.Roles...)
	}
	for _, c := range columns {
		for role, spread := range r.catalogue(c).Roles(r.config.Prove) {
			need.Want(spread, role)
		}
	}
	return need
}

func (r *Run) matrixOptions() matrix.Options {
	takes := r.catalogue(r.columns[0]).Takes(r.config.Prove, gotest.Count())
	if r.config.Measure {
		takes += measureRows
	}
	return matrix.Options{
		Run: r.id, Choices: r.config.Axes, Columns: r.columns, Existing: r.config.existing(), Engine: r.config.Engine, Install: r.config.Install,
		NodeImage: r.config.NodeImage, Workers: r.config.Workers, Keep: r.config.Keep, Measure: r.config.Measure,
		NotRun: r.notRun, JudgingEachColumn: takes, Budget: matrix.Budget{Started: r.started, Limit: gotest.Timeout()}, Report: r.config.Report, Log: r.log,
	}
}

func (r *Run) labOptions(plan *matrix.Plan, roles world.Roles) lab.Options {
	return lab.Options{
		Run: r.id, Columns: plan.Clusters[0], NotRun: r.notRun, Log: r.log, Report: r.config.Report,
		Existing: r.config.existing(), Kubeconfig: r.config.Kubeconfig, Context: r.config.Context, AgentImage: r.config.AgentImage,
		ReferenceImage: r.config.Reference, ReferenceAddresses: r.config.Addresses, Reference: stage.WantsReference(roles),
		Engine: plan.Engine, NodeImage: r.config.NodeImage, Workers: r.config.Workers, Keep: r.config.Keep,
	}
}

// stageOptions are for the i-th column of the cluster, whose namespaces have a number in their names where there are others.
func (r *Run) stageOptions(c axis.Column, i int, roles world.Roles) stage.Options {
	name := r.id.Name()
	if i > 0 {
		name = r.id.Name(strconv.Itoa(i + 1))
	}
	return stage.Options{Run: r.id, Name: name, Handler: c.Spec().Handler, Roles: roles, PullSecrets: split(r.config.PullSecrets),
		Keep: r.config.Keep, Faults: r.config.Faults, Log: r.log}
}
