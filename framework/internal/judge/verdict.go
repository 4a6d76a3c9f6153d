package judge

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/parley-k8s/parley/framework/internal/undo"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// resultOf checks one requirement in each of its families.
func (j *Judge) resultOf(ctx context.Context, q requirement.Requirement) (result reports.Result) {
	result = blank(q)
	result.Started = time.Now()
	defer func() { result.Took = time.Since(result.Started) }()
	if outcome, why := j.stage.Missing(q); why != "" {
		result.Outcome, result.Reason = outcome, why
		return result
	}
	if why := j.needsFaults(q); why != "" {
		result.Outcome, result.Reason = reports.Skipped, why
		return result
	}
	for _, family := range j.familiesOf(q) {
		e := j.env(q, family, patience)
		verdict := j.verdictOf(ctx, e, q, &result)
		result.Notes = append(result.Notes, e.Notes()...)
		result.Converged = append(result.Converged, convergedOf(e)...)
		for _, h := range e.LateHolds() {
			result.HeldLate = append(result.HeldLate, reports.LateHold(h))
		}
		if q.PerFamily {
			result.Verdicts = append(result.Verdicts, verdict)
		}
		result.Outcome, result.Reason = worse(result, verdict)
	}
	return result
}

// needsFaults says why the check is not run where faults are not allowed; "" where it is.
func (j *Judge) needsFaults(q requirement.Requirement) string {
	switch {
	case j.stage.FaultsAllowed():
		return ""
	case q.Disrupts != "":
		return q.Disrupts + onlyWithFaults
	case q.ClusterScoped != "":
		return "it makes " + clusterScoped(q.ClusterScoped)
	}
	return ""
}

const onlyWithFaults = "; on a cluster of yours it does so only with -faults"

// clusterScoped ends the sentence on something that is made there.
func clusterScoped(what string) string {
	return what + ", outside the run's own namespaces" + onlyWithFaults
}

// verdictOf runs the check once and sorts its error.
func (j *Judge) verdictOf(ctx context.Context, e *requirement.Env, q requirement.Requirement, result *reports.Result) reports.Verdict {
	verdict := reports.Verdict{Family: string(e.Family), Outcome: reports.Passed}
	begun := time.Now()
	var told *reports.Failure
	err := j.guarded(ctx, e, q, func(f *requirement.Failure) {
		explained := j.explain(ctx, e, q, f, begun)
		told = &explained
	})
	if err == nil {
		return verdict
	}
	var unsupported *requirement.Unsupported
	var lacks *requirement.NotPermitted
	switch failure := requirement.AsFailure(err); {
	case ctx.Err() != nil:
		verdict.Outcome, verdict.Reason = reports.Errored, "cut short: "+context.Cause(ctx).Error()
	case errors.As(err, &lacks):
		verdict.Outcome, verdict.Reason = reports.Errored, err.Error()
	case errors.As(err, &unsupported):
		verdict.Outcome, verdict.Reason = reports.Unsupported, unsupported.Probed
	case failure != nil:
		if told == nil { // the check's time was up as it failed
			plain := reportedFailure(q, e, failure)
			told = &plain
		}
		result.Failure = told
		verdict.Outcome, verdict.Reason = reports.Failed, told.Sentence()
	default:
		verdict.Outcome, verdict.Reason = reports.Errored, err.Error()
	}
	return verdict
}

// guarded runs the check within its bound; a panic in it is its own error and nobody else's. red, where given, is told
// of a failure before what the check made is removed. A right that this run's user lacks is a *requirement.NotPermitted, whatever the
// check took it for.
func (j *Judge) guarded(ctx context.Context, e *requirement.Env, q requirement.Requirement, red func(*requirement.Failure)) (err error) {
	bound := checkBound
	if q.Slow {
		bound = slowBound
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("the check was not done within %s", bound))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the check of %s panicked: %v\n%s", q.ID, p, debug.Stack())
		}
		if undone := undo.Do(ctx, e.CleanUp); undone != nil && err == nil {
			err = fmt.Errorf("what the check made could not be removed: %w", undone)
		}
	}()
	err = requirement.WithoutRight(q.Check(ctx, e), j.options.User)
	var lacks *requirement.NotPermitted
	if failure := requirement.AsFailure(err); failure != nil && !errors.As(err, &lacks) && red != nil && context.Cause(ctx) == nil {
		red(failure)
	}
	return err
}

// reportedFailure turns the framework's failure into the report's.
func reportedFailure(q requirement.Requirement, e *requirement.Env, f *requirement.Failure) reports.Failure {
	told := reports.Failure{Requirement: q.ID + ": " + q.Title, Protocol: f.Protocol, Expected: f.Expected, Observed: f.Observed,
		Attempts: f.Attempts, Took: f.Took, FirstBrokenHop: f.FirstBrokenHop, Again: f.Again, To: f.Target}
	if f.From != nil {
		told.From = f.From.String()
	}
	if f.To != nil {
		told.To = f.To.String()
		if f.Target != "" {
			told.To += ", at " + f.Target
		}
	}
	if q.PerFamily {
		told.Protocol += " over " + string(e.Family)
	}
	return told
}

// worse keeps the gravest of the families' outcomes: a failure, then what could not be judged, then
// what held somewhere, then what nothing supports.
func worse(result reports.Result, v reports.Verdict) (reports.Outcome, string) {
	rank := map[reports.Outcome]int{"": 0, reports.Unsupported: 1, reports.Passed: 2, reports.Errored: 3, reports.Failed: 4}
	if rank[v.Outcome] > rank[result.Outcome] {
		return v.Outcome, v.Reason
	}
	return result.Outcome, result.Reason
}

// convergedOf turns what a check measured of changes into the report's.
func convergedOf(e *requirement.Env) []reports.Converged {
	var all []reports.Converged
	for _, c := range e.Convergences() {
		one := reports.Converged{What: c.What}
		for _, s := range c.Samples {
			one.Samples = append(one.Samples, reports.ConvergedSample(s))
		}
		all = append(all, one)
	}
	return all
}
