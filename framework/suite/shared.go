package suite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/framework/until"
	"github.com/parley-k8s/parley/reports"
)

// namespacesGone bounds the removal of one column's world before the next one's is made: the kubelets end some 75 pods.
const namespacesGone = 3 * time.Minute

// shares says whether the columns are several and share a cluster.
func (r *Run) shares() bool { return len(r.columns) > 1 && !r.isMatrix() }

// cluster is the part of the report of the cluster, or of the column that shares it, that is judged.
func (r *Run) cluster() *reports.Cluster { return &r.report.Clusters[len(r.report.Clusters)-1] }

// knownAll are the user's known differences, and those of the OCI handlers that are judged.
func (r *Run) knownAll() []reports.Known {
	return append(append([]reports.Known(nil), r.known...), r.shipped...)
}

// worldName begins the names of the world's namespaces: columns that share a cluster have one each.
func (r *Run) worldName() string {
	if r.at == 0 {
		return r.id.Name()
	}
	return r.id.Name(strconv.Itoa(r.at + 1))
}

// columnFolder is the folder of a column that shares the cluster, within that of the reports; "" where there is one column.
func (r *Run) columnFolder() string {
	if !r.shared {
		return ""
	}
	return r.columns[r.at].Name()
}

func (r *Run) columnDir() string { return filepath.Join(r.config.Report, r.columnFolder()) }

// notRun notes a column that can't be had here and was not asked for by name.
func (r *Run) notRun(name, why string) {
	r.mu.Lock()
	r.report.NotRun = append(r.report.NotRun, reports.NotRun{Name: name, Reason: why})
	r.mu.Unlock()
	r.progress.say("not run: %s: %s", name, why)
}

// judgeShared judges the columns on the one cluster, one after the other, each on a world of its own.
func (r *Run) judgeShared(t *testing.T) {
	for i, c := range r.columns {
		if r.ctx.Err() != nil {
			return // why is the report's to tell
		}
		r.takeUp(i)
		t.Run(c.Name(), func(t *testing.T) { r.judgeColumn(t, i+1 < len(r.columns)) })
	}
}

// judgeColumn judges the column that was taken up. What keeps it from being judged keeps no other.
func (r *Run) judgeColumn(t *testing.T, more bool) {
	c := r.columns[r.at]
	r.progress.tell(c.Name())
	defer r.progress.tell("")
	if err := reports.Forget(r.columnDir()); err != nil {
		t.Error(err)
	}
	r.lab.mu.Lock()
	before := len(r.lab.undos)
	r.lab.mu.Unlock()
	if more {
		defer r.leaveWorld(before)
	}
	opened := len(r.report.Clusters)
	if err := r.populate(r.rolesNeeded()); err != nil {
		var gone *absent
		if errors.As(err, &gone) && !c.ByName {
			r.notRun(c.Name(), err.Error())
			t.Skip(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.report.Clusters) == opened {
			r.report.Clusters = append(r.report.Clusters, reports.Cluster{Name: c.Name(), Values: c.Values()})
		}
		r.cluster().Interrupted = err.Error()
		r.completeResults(err.Error())
		t.Fatal(err)
	}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		why := ""
		if cause := context.Cause(r.ctx); cause != nil {
			why = cause.Error()
			r.cluster().Interrupted = why
		}
		r.completeResults(why)
	}()
	for n := range rounds() {
		if rounds() > 1 {
			r.progress.say("round %d of %d", n+1, rounds())
		}
		r.judgeAll(t)
	}
	r.measure()
}

// leaveWorld removes the column's world and waits until it is gone: the next one's pods want its room, and perhaps its
// ports. On a cluster that is kept for a look it stays.
func (r *Run) leaveWorld(before int) {
	if r.ctx.Err() != nil {
		return // all is removed now
	}
	plan := r.lab.plan
	r.lab.tearDownTo(r.ctx, before)
	if r.config.Keep {
		return
	}
	for _, ns := range plan.Namespaces() {
		_, err := until.Settled(r.ctx, until.Policy{Within: namespacesGone, Every: time.Second}, func(ctx context.Context) error {
			_, err := r.lab.kube.CoreV1().Namespaces().Get(ctx, ns.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return errors.Join(fmt.Errorf("the namespace %s is still there", ns.Name), err)
		})
		if err != nil {
			r.progress.say("the world of %s could not be removed: %s", r.columns[r.at].Name(), err)
			return
		}
	}
}

// finishShared completes the report of several columns on one cluster, writes it, and says how it went. Each column's own
// report lies in a folder of its name.
func (r *Run) finishShared(code int) int {
	r.report.Ended = time.Now()
	r.report.MarkKnown(r.knownAll(), r.report.Ended)
	r.report.MarkWarnings(r.config.Strict)
	save := reports.SaveMatrix
	if isColumn() {
		save = reports.Save // the matrix compares them with others
	}
	errs := []error{save(r.config.Report, r.report)}
	for _, one := range r.report.PerCluster() {
		errs = append(errs, reports.Save(filepath.Join(r.config.Report, one.Clusters[0].Name), one))
	}
	if err := errors.Join(errs...); err != nil {
		r.progress.say("%s", err)
		code = max(code, reports.ExitUnjudged)
	}
	switch {
	case len(r.report.Clusters) == 0:
		r.progress.say("nothing was judged: %s", r.report.Interrupted)
	case isColumn():
		r.progress.summary(r.report, r.config.Report)
	default:
		r.progress.comparison(r.report, r.config.Report)
	}
	verdict := r.report.ExitCode(r.config.Strict)
	if verdict == reports.ExitPassed && code != 0 {
		return code
	}
	return verdict
}
