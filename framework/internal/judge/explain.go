package judge

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/parley-k8s/parley/framework/internal/diagnose"
	"github.com/parley-k8s/parley/framework/internal/evidence"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// explainWithin is how long after its first failure a run goes on diagnosing failures and gathering their evidence:
// where a whole cluster is broken, the first of them tell enough, and the verdicts must not wait for all.
const explainWithin = 4 * time.Minute

// atOnceExplained is how many failures are looked into side by side, so that they do not disturb each other.
const atOnceExplained = 2

// explainer looks into failures while what failed is still there.
type explainer struct {
	once  sync.Once
	until time.Time
	slots chan struct{}
	known findings
}

// explain finds the first broken hop of the failure and gathers its evidence, before the check's own pods are removed. What crosses a way
// that is known to carry nothing, and why, is not looked into again.
func (j *Judge) explain(ctx context.Context, e *requirement.Env, q requirement.Requirement, f *requirement.Failure, since time.Time) reports.Failure {
	j.explainer.once.Do(func() {
		j.explainer.until, j.explainer.slots = time.Now().Add(explainWithin), make(chan struct{}, atOnceExplained)
	})
	j.explainer.slots <- struct{}{}
	defer func() { <-j.explainer.slots }()
	ways := waysOf(f, string(e.Family))
	if known, ok := j.explainer.known.of(ways); ok {
		f.Cause, f.FirstBrokenHop = known.cause, fmt.Sprintf("over the same way as %s: %s", known.id, known.hop)
		told := reportedFailure(q, e, f)
		told.Evidence = known.evidence
		return told
	}
	if ctx.Err() != nil || time.Now().After(j.explainer.until) {
		return reportedFailure(q, e, f)
	}
	if err := j.stage.Witnesses(ctx); err != nil {
		j.options.Log.Say("agents that a diagnosis asks could not be started: %s", err)
	}
	found := diagnose.FirstBrokenHop(ctx, e, f, j.stage.FaultsAllowed())
	if f.FirstBrokenHop == "" {
		f.FirstBrokenHop = found.Hop
	}
	if f.Cause == "" {
		f.Cause = found.Cause
	}
	if j.explainer.known.first(f.Cause) {
		j.options.Log.Say("found what breaks %s: %s", q.ID, f.Cause)
	}
	told := reportedFailure(q, e, f)
	subject := evidence.Subject{Env: e, Failure: f, Block: told.Block(), Steps: found.Seen, Since: since, Report: filepath.Join(j.options.Report, j.options.Folder)}
	if err := evidence.Collect(ctx, subject); err != nil {
		j.options.Log.Say("%s: %s", q.ID, fmt.Errorf("not all of the evidence could be gathered: %w", err))
	}
	told.Evidence = filepath.Join(j.options.Folder, subject.Path())
	if found.Cause != "" {
		j.explainer.known.keep(ways, found.NothingTo, explained{id: q.ID, cause: f.Cause, hop: f.FirstBrokenHop, evidence: told.Evidence})
	}
	return told
}
