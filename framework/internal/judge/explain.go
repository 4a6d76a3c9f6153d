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

	mu     sync.Mutex
	causes map[string]bool // that were found
}

// first says whether the cause was not found before; "" is none.
func (e *explainer) first(cause string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if cause == "" || e.causes[cause] {
		return false
	}
	if e.causes == nil {
		e.causes = map[string]bool{}
	}
	e.causes[cause] = true
	return true
}

// explain finds the first broken hop of the failure and gathers its evidence, before the check's own pods are removed.
func (j *Judge) explain(ctx context.Context, e *requirement.Env, q requirement.Requirement, f *requirement.Failure, since time.Time) reports.Failure {
	j.explainer.once.Do(func() {
		j.explainer.until, j.explainer.slots = time.Now().Add(explainWithin), make(chan struct{}, atOnceExplained)
	})
	j.explainer.slots <- struct{}{}
	defer func() { <-j.explainer.slots }()
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
	if j.explainer.first(f.Cause) {
		j.options.Log.Say("found what breaks %s: %s", q.ID, f.Cause)
	}
	told := reportedFailure(q, e, f)
	subject := evidence.Subject{Env: e, Failure: f, Block: told.Block(), Steps: found.Seen, Since: since, Report: filepath.Join(j.options.Report, j.options.Folder)}
	if err := evidence.Collect(ctx, subject); err != nil {
		j.options.Log.Say("%s: %s", q.ID, fmt.Errorf("not all of the evidence could be gathered: %w", err))
	}
	told.Evidence = filepath.Join(j.options.Folder, subject.Path())
	return told
}
