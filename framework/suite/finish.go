package suite

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/parley-k8s/parley/framework/internal/judge"
	"github.com/parley-k8s/parley/framework/internal/knowndiff"
	"github.com/parley-k8s/parley/framework/internal/matrix"
	"github.com/parley-k8s/parley/reports"
)

// finish removes what was made, completes the report, writes it, and says how it went. code is what go test made of the tests.
func (r *Run) finish(code int) int {
	interrupted := context.Cause(r.ctx)
	r.remove()
	if !r.judging && r.fatal == nil {
		return code // no verdict was asked for: -list, -bench, or -run for something else
	}
	switch {
	case interrupted != nil:
		r.report.Interrupted = interrupted.Error()
	case r.fatal != nil:
		r.report.Interrupted = r.fatal.Error()
	}
	if len(r.report.Clusters) == 0 && len(r.columns) == 1 {
		none := judge.NewRecord("none", nil).Complete(r.catalogue(r.columns[0]), r.report.Interrupted)
		r.report.Clusters = []reports.Cluster{none}
	}
	r.report.Ended = time.Now()
	err := errors.Join(r.mark(), r.save())
	if err != nil {
		r.log.Say("%s", err)
		r.codes = append(r.codes, reports.ExitUnjudged)
	}
	r.show()
	if worst := worst(append(r.codes, r.report.ExitCode(r.config.Strict))); worst != reports.ExitPassed {
		return worst
	}
	return code
}

// What removing may take, for which matrix.CleanupReserve is kept: an API server that does not answer any more must not keep the
// cluster from being removed.
const (
	removeStage = 20 * time.Second
	removeLab   = matrix.CleanupReserve - removeStage - 10*time.Second
)

// remove removes what was made.
func (r *Run) remove() {
	within := func(bound time.Duration, remove func(context.Context)) {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		remove(ctx)
	}
	if r.stage != nil {
		within(removeStage, r.stage.Close)
	}
	if r.lab != nil {
		within(removeLab, r.lab.Close)
	}
	if r.unlock != nil {
		r.unlock()
	}
	r.stage, r.lab, r.unlock = nil, nil, nil
}

// mark marks the known differences and the warnings in the report.
func (r *Run) mark() error {
	shipped, err := knowndiff.In(r.report)
	r.report.MarkKnown(slices.Concat(r.known, shipped), r.report.Ended)
	r.report.MarkWarnings(r.config.Strict)
	return err
}

// save writes the report: of one column alone, of several compared, with that of each that shares the cluster in a folder of its
// name. A child leaves the comparison to its parent.
func (r *Run) save() error {
	save := reports.Save
	if len(r.columns) > 1 && !matrix.IsChild() {
		save = reports.SaveMatrix
	}
	errs := []error{save(r.config.Report, r.report)}
	if r.shared() {
		for _, one := range r.report.PerCluster() {
			errs = append(errs, reports.Save(filepath.Join(r.config.Report, one.Clusters[0].Name), one))
		}
	}
	return errors.Join(errs...)
}

// show shows the whole at the end.
func (r *Run) show() {
	switch {
	case !r.judged:
		r.log.Say("nothing was judged: %s", r.report.Interrupted)
	case len(r.columns) == 1 || matrix.IsChild():
		r.log.Summary(r.report, r.config.Report)
	default:
		r.log.Comparison(r.report, r.config.Report)
	}
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
