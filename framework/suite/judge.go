package suite

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
	"sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

const (
	// patience is how long a check may go on observing before a requirement counts as not holding.
	// A proxy on a busy machine takes seconds to follow a change, and a false red costs more than a late true one.
	patience = 20 * time.Second
	// attempt bounds one network attempt: longer than the first retransmission of a SYN (1 s, RFC 6298),
	// so that one lost packet on a busy machine is no failure.
	attempt = 2500 * time.Millisecond
	// checkBound bounds a whole check.
	checkBound = 2 * time.Minute
	// slowBound bounds the check of a requirement that takes minutes.
	slowBound = 10 * time.Minute
	// firstPort is the first of the requirements' own ports: below every usual ephemeral range (32768)
	// and NodePort range (30000).
	firstPort = 20000
)

// judgeAll judges what was chosen, then proves what is to be proved.
func (r *Run) judgeAll(t *testing.T) {
	results := map[string]*reports.Result{}
	testEnv, err := env.NewWithContext(r.ctx, r.config.Features)
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, list []requirement.Requirement, which func(requirement.Requirement) bool, parallel bool, do func(*testing.T, requirement.Requirement)) {
		var chosen []requirement.Requirement
		for _, q := range list {
			if r.left[q.ID] == "" && which(q) {
				chosen = append(chosen, q)
			}
		}
		if len(chosen) == 0 {
			return
		}
		// Long checks mostly wait for a kubelet: they have turns of their own, and the short ones go on beside them.
		short, long := newTurns(atFirst), newTurns(atFirst)
		if parallel {
			ctx, stop := context.WithCancel(r.ctx)
			defer stop()
			go r.lab.setPace(ctx, short, long)
		} else {
			short = newTurns(1)
			long = short
		}
		r.progress.expect(name, len(chosen))
		t.Run(name, func(t *testing.T) {
			var all []types.Feature
			for place, q := range chosen {
				turns := short
				if q.Long {
					turns = long
				}
				all = append(all, features.New(q.ID).
					WithLabel("chapter", q.Chapter()).WithLabel("level", string(q.Level)).
					Assess(string(q.Level), func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
						turns.take(place)
						defer turns.give()
						do(t, q)
						return ctx
					}).Feature())
			}
			testEnv.TestInParallel(t, all...)
		})
	}
	later := &r.later
	later.reset()
	holds := func(t *testing.T, q requirement.Requirement) {
		result := r.judge(r.ctx, q)
		r.markKnown(&result)
		said, off := word(result.Outcome), later.puts(&result, q.Disrupts == "" && r.ctx.Err() == nil && r.lab.busySince(result.Started))
		if off {
			said = "put off"
		}
		r.progress.verdict(q.ID, said, result.Sentence(), result.Took)
		if off {
			t.Skip("put off, to be judged alone: the nodes are too busy to tell")
		}
		all := r.overRounds(result)
		r.keep(all)
		r.mu.Lock()
		results[q.ID] = &all
		r.mu.Unlock()
		show(t, result, r.config.Strict)
	}
	run("holds", r.drawn(), func(q requirement.Requirement) bool { return q.Disrupts == "" }, true, holds)
	run("holds, put off", r.drawn(), later.has, false, holds)
	run("holds, one at a time", r.drawn(), func(q requirement.Requirement) bool { return q.Disrupts != "" }, false, holds)
	if !r.config.Prove {
		return
	}
	begun := time.Now()
	var unsure putOff
	prove := func(t *testing.T, q requirement.Requirement) {
		r.mu.Lock()
		result := results[q.ID]
		r.mu.Unlock()
		switch limit := r.config.ProveWithin; {
		case result == nil:
			return // left out by e2e-framework's own flags
		case limit > 0 && time.Since(begun) > limit && !unsure.has(q):
			proof := proofNotRun(q, "the time for proofs, "+limit.String()+", was used up; another -prove-seed draws others")
			result.Proof = worseProof(result.Proof, proof)
			r.keep(*result)
			t.Skip(proof.Reason)
		}
		proof := r.prove(r.ctx, q, result.Outcome, &unsure)
		result.Proof = worseProof(result.Proof, proof)
		r.keep(*result)
		showProof(t, q, proof)
	}
	asked := func(alone bool) func(requirement.Requirement) bool {
		return func(q requirement.Requirement) bool {
			return (q.Control.Alone || q.Disrupts != "") == alone && r.proveOnly.Has(q.ID)
		}
	}
	run("can fail", r.drawn(), asked(false), true, prove)
	run("can fail, put off", r.drawn(), unsure.has, false, prove)
	run("can fail, one at a time", r.drawn(), asked(true), false, prove)
}

// drawn is the list in the order that the seed draws, or as it stands without one.
func (r *Run) drawn() []requirement.Requirement {
	if r.config.ProveSeed == "" {
		return r.all
	}
	all := slices.Clone(r.all)
	place := func(q requirement.Requirement) string {
		sum := sha256.Sum256([]byte(r.config.ProveSeed + q.ID))
		return string(sum[:])
	}
	slices.SortFunc(all, func(a, b requirement.Requirement) int { return strings.Compare(place(a), place(b)) })
	return all
}

// judge checks one requirement in each of its families.
func (r *Run) judge(ctx context.Context, q requirement.Requirement) (result reports.Result) {
	result = r.blank(q)
	result.Started = time.Now()
	defer func() { result.Took = time.Since(result.Started) }()
	if outcome, why := r.lab.cast.lacks(q); why != "" {
		result.Outcome, result.Reason = outcome, why
		return result
	}
	if q.Disrupts != "" && !r.lab.faultsAllowed() {
		result.Outcome, result.Reason = reports.Skipped, q.Disrupts+"; on a cluster of yours it does so only with -faults"
		return result
	}
	for _, family := range r.lab.familiesOf(q) {
		e := r.lab.env(q, family, patience)
		verdict := r.verdictOf(ctx, e, q, &result)
		result.Notes = append(result.Notes, e.Notes()...)
		result.Converged = append(result.Converged, convergedOf(e)...)
		if q.PerFamily {
			result.Verdicts = append(result.Verdicts, verdict)
		}
		result.Outcome, result.Reason = worse(result, verdict)
	}
	return result
}

func (r *Run) blank(q requirement.Requirement) reports.Result {
	return reports.Result{ID: q.ID, Title: q.Title, Chapter: q.Chapter(), Level: string(q.Level),
		Clause: reports.Clause{URL: q.Clause.URL, Text: q.Clause.Says}}
}

// keep puts a result into the report, in place of an earlier one of the requirement.
func (r *Run) keep(result reports.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	results := &r.cluster().Results
	for i := range *results {
		if (*results)[i].ID == result.ID {
			(*results)[i] = result
			return
		}
	}
	*results = append(*results, result)
}

// completeResults orders the results of the cluster, or the column, that was judged last as the catalogue has them, and adds
// a row for everything that was not judged, with the reason: interrupted is why it was cut short, "" where it was not. It
// returns what was judged.
func (r *Run) completeResults(interrupted string) map[string]reports.Result {
	judged := map[string]reports.Result{}
	for _, result := range r.cluster().Results {
		judged[result.ID] = result
	}
	var all []reports.Result
	for _, q := range r.all {
		result, ok := judged[q.ID]
		if !ok {
			result = r.blank(q)
			result.Outcome, result.Reason = reports.Skipped, r.left[q.ID]
			switch {
			case result.Reason != "":
				result.NotAsked = r.chosen[q.ID] == ""
			case interrupted != "":
				result.Outcome, result.Reason = reports.Errored, cmp.Or(r.later.waited(q.ID, interrupted), "not reached: "+interrupted)
			default:
				result.Reason = "left out by go test's -run or by e2e-framework's -feature or -labels"
			}
		}
		all = append(all, result)
	}
	r.cluster().Results = all
	r.later.reset()
	return judged
}

// env is what a check of the requirement sees.
func (l *lab) env(q requirement.Requirement, family corev1.IPFamily, patience time.Duration) *requirement.Env {
	return &requirement.Env{Requirement: &q, Kube: l.kube, Config: l.config, Family: family, Patience: patience, Attempt: attempt,
		Players: l.cast, World: l.plan, Base: firstPort + requirement.PortsEach*l.run.index(q.ID)}
}

func (r *Run) index(id string) int {
	for i, q := range r.all {
		if q.ID == id {
			return i
		}
	}
	return 0
}

// familiesOf are the families to judge the requirement in: all of the cluster's, or its first.
func (l *lab) familiesOf(q requirement.Requirement) []corev1.IPFamily {
	if q.PerFamily {
		return l.families
	}
	return l.families[:1]
}
