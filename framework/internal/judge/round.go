package judge

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
	"sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// Round judges what was chosen, then proves what is to be proved. What it finds out is in the record, also where the context ends
// it.
func (j *Judge) Round(ctx context.Context, t *testing.T) {
	t.Helper()
	testEnv, err := env.NewWithContext(ctx, j.options.Features)
	if err != nil {
		t.Fatal(err)
	}
	j.record.retries.forget()
	r := &round{Judge: j, ctx: ctx, env: testEnv, results: map[string]*reports.Result{}}
	r.judge(t)
	if j.options.Prove {
		r.proving = time.Now()
		r.prove(t)
	}
}

// round is one round of verdicts and proofs.
type round struct {
	*Judge
	ctx     context.Context
	env     types.Environment
	proving time.Time // since when

	mu      sync.Mutex
	results map[string]*reports.Result // by ID, of this round and those before
	unsure  putOff                 // proofs
}

// group are requirements that are judged, or proved, under one name of a subtest.
type group struct {
	name     string
	has      func(requirement.Requirement) bool
	parallel bool // several at once, as many as the nodes bear
	do       func(*testing.T, requirement.Requirement)
}

// judge gives the verdicts: side by side, then what failed while the nodes were too busy, and alone what disrupts others; at the end
// again what may have changed meanwhile.
func (r *round) judge(t *testing.T) {
	disrupts := func(q requirement.Requirement) bool { return q.Disrupts != "" }
	before := r.lookAtCluster()
	stop := r.follow(r.followAddresses)
	r.run(t, group{"holds", func(q requirement.Requirement) bool { return !disrupts(q) }, true, r.judgeOne})
	r.run(t, group{"holds, put off", r.record.retries.has, true, r.judgeOne})
	after := r.lookAtCluster() // before what disrupts, which changes things itself
	r.run(t, group{"holds, one at a time", disrupts, false, r.judgeOne})
	stop()
	r.noteChanges(before, after)
	r.run(t, group{"holds at the end", r.passedBefore, false, r.judgeAtEnd})
}

// follow has something done beside the rest until stop is called, which waits for it.
func (r *round) follow(do func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(r.ctx)
	var following sync.WaitGroup
	following.Go(func() { do(ctx) })
	return func() { cancel(); following.Wait() }
}

// prove gives the proofs in the same order.
func (r *round) prove(t *testing.T) {
	alone := func(q requirement.Requirement) bool {
		return q.Disrupts != "" || slices.ContainsFunc(q.Controls(), func(c requirement.Control) bool { return c.Alone })
	}
	asked := func(q requirement.Requirement) bool { return r.options.ProveOnly.Has(q.ID) }
	r.run(t, group{"can fail", func(q requirement.Requirement) bool { return asked(q) && !alone(q) }, true, r.proveOne})
	r.run(t, group{"can fail, put off", r.unsure.has, false, r.proveOne})
	r.run(t, group{"can fail, one at a time", func(q requirement.Requirement) bool { return asked(q) && alone(q) }, false, r.proveOne})
}

// run runs a group as a subtest, in which each requirement is a feature of e2e-framework.
func (r *round) run(t *testing.T, g group) {
	var members []requirement.Requirement
	for _, q := range r.options.Catalogue.drawn(r.options.ProveSeed) {
		if r.options.Catalogue.Runs(q) && g.has(q) {
			members = append(members, q)
		}
	}
	if len(members) == 0 {
		return
	}
	// Long checks mostly wait for a kubelet: they have a limit of their own, and the short ones go on beside them.
	short, long := newLimiter(atFirst), newLimiter(atFirst)
	if g.parallel {
		defer r.follow(func(ctx context.Context) { r.followLoad(ctx, short, long) })() // what it says belongs to this group
	} else {
		short = newLimiter(1)
		long = short
	}
	r.options.Log.Count(g.name, len(members))
	t.Run(g.name, func(t *testing.T) {
		var all []types.Feature
		for place, q := range members {
			limiter := short
			if q.Long {
				limiter = long
			}
			all = append(all, features.New(q.ID).
				WithLabel("chapter", q.Chapter()).WithLabel("level", string(q.Level)).
				Assess(string(q.Level), func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
					limiter.acquire(place)
					defer limiter.release()
					g.do(t, q)
					return ctx
				}).Feature())
		}
		r.env.TestInParallel(t, all...)
	})
}

// judgeOne judges a requirement, unless what was seen is to be judged again when all else is done.
func (r *round) judgeOne(t *testing.T, q requirement.Requirement) {
	result := r.resultOf(r.ctx, q)
	r.record.markKnown(&result, r.options.Known)
	tooBusy := q.Disrupts == "" && r.ctx.Err() == nil && r.busy.since(result.Started)
	retries := &r.record.retries
	result.PutOff = retries.first(q.ID)
	if retriable(result) && tooBusy {
		retries.add(q.ID, result.Sentence())
		r.options.Log.Verdict(q.ID, "put off", result.Sentence(), result.Took)
		t.Skip("put off, to be judged when all else is done: the nodes are too busy to tell")
	}
	r.options.Log.Verdict(q.ID, label(result.Outcome), cmp.Or(result.Sentence(), result.Partly()), result.Took)
	all := r.overRounds(result)
	r.record.keep(all)
	r.mu.Lock()
	r.results[q.ID] = &all
	r.mu.Unlock()
	Show(t, result, r.options.Strict)
}

// proveOne proves a requirement, as far as there is time.
func (r *round) proveOne(t *testing.T, q requirement.Requirement) {
	r.mu.Lock()
	result := r.results[q.ID]
	r.mu.Unlock()
	if result == nil {
		return // left out by e2e-framework's own flags
	}
	if limit := r.options.ProveWithin; limit > 0 && time.Since(r.proving) > limit && !r.unsure.has(q) {
		proof := proofNotRun(q, "the time for proofs, "+limit.String()+", was used up; another -prove-seed draws others")
		result.Proof = worseProof(result.Proof, proof)
		r.record.keep(*result)
		t.Skip(proof.Reason)
	}
	proof := r.proofOf(r.ctx, q, result.Outcome)
	result.Proof = worseProof(result.Proof, proof)
	r.record.keep(*result)
	showProof(t, q, proof)
}

// Show tells go test of a result.
func Show(t *testing.T, result reports.Result, strict bool) {
	t.Helper()
	switch result.Outcome {
	case reports.Unsupported, reports.Skipped:
		t.Skip(result.Reason)
	case reports.Errored:
		t.Error(result.Reason)
	case reports.Failed:
		if result.Fails(strict) {
			t.Error(result.Reason)
			return
		}
		t.Log("warning: " + result.Reason)
	}
}

func showProof(t *testing.T, q requirement.Requirement, proof *reports.Proof) {
	t.Helper()
	switch proof.State {
	case reports.Refuted:
		t.Errorf("%s: %s", q.ID, proof.Reason)
	case reports.Unproved, reports.ProofNotRun:
		t.Skip(proof.Reason)
	}
}

// label is the outcome as the progress shows it: a failure catches the eye.
func label(o reports.Outcome) string {
	if o == reports.Failed {
		return "FAILED"
	}
	return string(o)
}
