package judge

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/framework/internal/undo"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// resultOf checks one requirement in each of its families, from each of its nodes.
func (j *Judge) resultOf(ctx context.Context, q requirement.Requirement) (result reports.Result) {
	result = blank(q)
	result.Started = time.Now()
	defer func() { result.Took = time.Since(result.Started) }()
	if outcome, why := j.missing(q); why != "" {
		result.Outcome, result.Reason = outcome, why
		return result
	}
	if why := j.needsFaults(q); why != "" {
		result.Outcome, result.Reason = reports.Skipped, why
		return result
	}
	result.Notes = append(result.Notes, j.stage.Without(q)...)
	for _, family := range j.familiesOf(q) {
		over := reports.Verdict{Family: string(family)}
		for _, seen := range j.seenFrom(ctx, q, family, result.Outcome) {
			seen.into(&result, q.PerNode)
			over.Outcome, over.Reason = worse(over.Outcome, over.Reason, seen.outcome, seen.reason)
		}
		if q.PerFamily {
			result.Verdicts = append(result.Verdicts, over)
		}
		result.Outcome, result.Reason = worse(result.Outcome, result.Reason, over.Outcome, over.Reason)
	}
	switch nodes := where(result.Outcome, result.ByNode); {
	case result.Outcome == reports.Passed:
		result.Reason = result.Partly()
	case result.Outcome == reports.Failed && result.Failure != nil:
		result.Failure.Nodes = nodes
		result.Reason = result.Failure.Sentence()
	case nodes == "" || result.Reason == "":
	default:
		result.Reason += "; " + nodes
	}
	return result
}

// where are the nodes on which an outcome was seen, and those on which it was not: "on n2, not on n1"; "" where there is one node.
func where(outcome reports.Outcome, all []reports.NodeVerdict) string {
	var on, not []string
	for _, v := range all {
		if v.Outcome == outcome && !slices.Contains(on, v.Node) {
			on = append(on, v.Node)
		}
	}
	for _, v := range all {
		if !slices.Contains(on, v.Node) && !slices.Contains(not, v.Node) {
			not = append(not, v.Node)
		}
	}
	switch {
	case len(on)+len(not) < 2:
		return ""
	case len(not) == 0:
		return "on every node"
	}
	return "on " + together(on) + ", not on " + together(not)
}

// together joins names to a list as a sentence has it; many are counted.
func together(names []string) string {
	const most = 5
	if n := len(names); n > most {
		return fmt.Sprintf("%s and %d other nodes", strings.Join(names[:most], ", "), n-most)
	}
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return names[0]
}

// missing says why the requirement can be judged from none of its nodes; "" where it can from one.
func (j *Judge) missing(q requirement.Requirement) (outcome reports.Outcome, reason string) {
	for _, node := range j.nodesOf(q) {
		now, why := j.stage.Missing(q, node)
		if why == "" {
			return "", ""
		}
		outcome, reason = worse(outcome, reason, now, why)
	}
	return outcome, reason
}

// impatience is how long is waited for what failed over another family or on another node already: the verdict is known, and what is
// wrong there too is seen at once.
const impatience = 2 * time.Second

// patienceWith is how long the check of the requirement goes on observing: half as long where it was seen to fail already, and is judged
// again now that the nodes have nothing else to do.
func (j *Judge) patienceWith(q requirement.Requirement) time.Duration {
	if j.record.retries.has(q) {
		return patience / 2
	}
	return patience
}

// seenFrom is what the check sees over the family from each of the requirement's nodes. Long checks, which mostly wait for pods of their
// own, go side by side. The others are quick, and might want one port of a pod that is near to one node and far from the other.
func (j *Judge) seenFrom(ctx context.Context, q requirement.Requirement, family corev1.IPFamily, before reports.Outcome) []seen {
	nodes := j.nodesOf(q)
	all := make([]seen, len(nodes))
	if q.Long {
		var each sync.WaitGroup
		for i, node := range nodes {
			each.Go(func() { all[i] = j.seenOnce(ctx, q, view{family, node}, j.patienceWith(q)) })
		}
		each.Wait()
		return all
	}
	for i, node := range nodes {
		within := j.patienceWith(q)
		if before == reports.Failed {
			within = impatience
		}
		all[i] = j.seenOnce(ctx, q, view{family, node}, within)
		if all[i].outcome == reports.Failed {
			before = reports.Failed
		}
	}
	return all
}

// seen is what a check saw from one view.
type seen struct {
	view
	outcome reports.Outcome
	reason  string
	failure *reports.Failure
	env     *requirement.Env // nil where the check was not run
}

// into adds what was seen to the result, apart from the outcome. perNode has notes say from where they are.
func (s seen) into(result *reports.Result, perNode bool) {
	if perNode {
		result.ByNode = append(result.ByNode, reports.NodeVerdict{Node: s.node, Family: string(s.family), Outcome: s.outcome, Reason: s.reason})
	}
	// The first is told, of those that say most.
	if s.failure != nil && (result.Failure == nil || weight(s.failure) > weight(result.Failure)) {
		result.Failure = s.failure
	}
	if s.env == nil {
		return
	}
	for _, note := range s.env.Notes() {
		if perNode {
			note = s.node + ": " + note
		}
		result.Notes = append(result.Notes, note)
	}
	result.Converged = append(result.Converged, convergedOf(s.env)...)
	for _, h := range s.env.LateHolds() {
		result.HeldLate = append(result.HeldLate, reports.LateHold(h))
	}
}

// weight is how much a failure says: most where no later attempt forgives it, for what was seen and not since nobody waits for it; more
// where it is known what breaks it.
func weight(f *reports.Failure) (n int) {
	if f.Final != "" && f.Final != requirement.KnownIsFinal {
		n += 2
	}
	if f.Cause != "" {
		n++
	}
	return n
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

// seenOnce runs the check once and sorts its error.
func (j *Judge) seenOnce(ctx context.Context, q requirement.Requirement, v view, patience time.Duration) seen {
	is := seen{view: v, outcome: reports.Passed}
	if outcome, why := j.stage.Missing(q, v.node); why != "" {
		is.outcome, is.reason = outcome, why
		return is
	}
	is.env = j.env(q, v, patience)
	begun := time.Now()
	err := j.guarded(ctx, is.env, q, func(f *requirement.Failure) {
		explained := j.explain(ctx, is.env, q, f, begun)
		is.failure = &explained
	})
	if err == nil {
		return is
	}
	var unsupported *requirement.Unsupported
	var lacks *requirement.NotPermitted
	switch failure := requirement.AsFailure(err); {
	case ctx.Err() != nil:
		is.failure = nil
		is.outcome, is.reason = reports.Errored, "cut short: "+context.Cause(ctx).Error()
	case errors.As(err, &lacks):
		is.outcome, is.reason = reports.Errored, err.Error()
	case errors.As(err, &unsupported):
		is.outcome, is.reason = reports.Unsupported, unsupported.Probed
	case failure != nil:
		if is.failure == nil { // the check's time was up as it failed
			plain := reportedFailure(q, is.env, failure)
			is.failure = &plain
		}
		is.outcome, is.reason = reports.Failed, is.failure.Sentence()
	default:
		is.outcome, is.reason = reports.Errored, err.Error()
	}
	return is
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
		Attempts: f.Attempts, Took: f.Took, Final: f.WhyFinal(), FirstBrokenHop: f.FirstBrokenHop, Cause: f.Cause, Again: f.Again, To: f.Target}
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

// worse keeps the graver of two outcomes, of families or nodes: a failure, then what could not be judged, then what held somewhere,
// then what nothing supports.
func worse(outcome reports.Outcome, reason string, other reports.Outcome, why string) (reports.Outcome, string) {
	rank := map[reports.Outcome]int{"": 0, reports.Unsupported: 1, reports.Passed: 2, reports.Errored: 3, reports.Failed: 4}
	if rank[other] > rank[outcome] {
		return other, why
	}
	return outcome, reason
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
