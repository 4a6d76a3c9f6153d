package judge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/undo"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// proofOf applies the requirement's control, demands red for the expected reason, lifts it, and demands
// green again. The first green is the verdict that was just given.
func (r *round) proofOf(ctx context.Context, q requirement.Requirement, outcome reports.Outcome) *reports.Proof {
	start := time.Now()
	proof := proofNotRun(q, "a proof begins with green, and the requirement is "+string(outcome))
	if outcome == reports.Passed {
		proof = r.proveTwice(ctx, q)
	}
	proof.Took = time.Since(start)
	said := string(proof.State)
	if proof.State == reports.ProofNotRun && r.unsure.has(q) {
		said = "put off"
	}
	r.options.Log.Verdict(q.ID, said, proof.Reason, proof.Took)
	return proof
}

// proveTwice tries again what is refuted at first: seen once it may be the machine's doing, such as an answer that was late; what is
// wrong with a check or its control is seen again. The second try waits where the nodes were too busy: the proof is not run
// then, and unsure has it. The first stays in the report.
func (r *round) proveTwice(ctx context.Context, q requirement.Requirement) *reports.Proof {
	begun, first := time.Now(), r.unsure.first(q.ID)
	if first == "" {
		proof := r.proveByEach(ctx, q)
		if proof.State != reports.Refuted || ctx.Err() != nil {
			return proof
		}
		if first = proof.Reason; r.busy.since(begun) {
			r.unsure.add(q.ID, first)
			return proofNotRun(q, "to be tried again alone: the nodes are too busy to tell; at first: "+first)
		}
	}
	proof := r.proveByEach(ctx, q)
	switch proof.State {
	case reports.Proved:
		proof.Reason = "on the second try; the first: " + first
	case reports.Refuted:
	default: // what was refuted is not made good by a try that told nothing
		proof.State, proof.Reason = reports.Refuted, first
	}
	return proof
}

func blankProof(q requirement.Requirement) *reports.Proof {
	return &reports.Proof{How: q.Control.Kind() + ": " + q.Control.Says}
}

func proofNotRun(q requirement.Requirement, why string) *reports.Proof {
	proof := blankProof(q)
	proof.State, proof.Reason = reports.ProofNotRun, why
	return proof
}

// proveByEach proves by each control of the requirement on its own, up to the first that is refuted. After those that leave nothing to
// lift the requirement need not be green again each time, but once, before the proof ends.
func (j *Judge) proveByEach(ctx context.Context, q requirement.Requirement) *reports.Proof {
	// What the check does not judge here needs no proof.
	q.MoreControls = slices.DeleteFunc(slices.Clone(q.MoreControls), func(c requirement.Control) bool {
		return slices.ContainsFunc(c.Wants, func(role world.Role) bool { return len(j.stage.Ends(role)) == 0 })
	})
	if len(q.MoreControls) == 0 {
		return j.proveInFamilies(ctx, q, 0)
	}
	var parts []reports.Proof
	owing := -1 // the last part after which it was not yet seen green again
	for i, c := range q.Controls() {
		start, of := time.Now(), q
		of.Control = c
		part := proofNotRun(of, "another control was refuted before")
		if len(parts) == 0 || parts[len(parts)-1].State != reports.Refuted && ctx.Err() == nil {
			part = j.proveInFamilies(ctx, of, i)
		}
		part.Took = time.Since(start)
		parts = append(parts, *part)
		if part.State == reports.Proved {
			if owing = i; greenAfter(of, i) {
				owing = -1
			}
		}
	}
	proof := reports.ProofOfAll(parts)
	if owing < 0 || proof.State == reports.Refuted {
		return proof
	}
	start := time.Now()
	for _, family := range j.familiesOf(q) {
		of := q
		of.Control = q.Controls()[owing]
		j.greenAgain(ctx, view{family, j.proveFrom(of)}, of, &parts[owing])
	}
	parts[owing].Took += time.Since(start)
	return reports.ProofOfAll(parts)
}

// greenAfter says whether the requirement must be green again after its nth control: unless another control follows, and this one made
// nothing but what the check makes and removes itself.
func greenAfter(q requirement.Requirement, nth int) bool {
	v := q.Control.Variant
	return nth >= len(q.MoreControls) || v == nil || v.Make != nil
}

// proveInFamilies proves by the control of q, the nth of the requirement's, in each family that it is judged in, up to the first that is
// not proved.
func (j *Judge) proveInFamilies(ctx context.Context, q requirement.Requirement, nth int) *reports.Proof {
	proof := blankProof(q)
	for _, family := range j.familiesOf(q) {
		e := j.env(q, view{family, j.proveFrom(q)}, 0) // red needs no patience: one attempt
		e.Proof = nth
		if j.proveOnce(ctx, e, q, proof); proof.State != reports.Proved {
			break
		}
	}
	return proof
}

// proveFrom is the node from which a requirement that is judged per node is proved: the last, which a check that looks at the first alone
// would not see. Roles that only a variant asks for are played near the first.
func (j *Judge) proveFrom(q requirement.Requirement) string {
	nodes := j.nodesOf(q)
	if v := q.Control.Variant; v != nil && len(v.Roles) > 0 {
		return nodes[0]
	}
	return nodes[len(nodes)-1]
}

func (j *Judge) proveOnce(ctx context.Context, e *requirement.Env, q requirement.Requirement, proof *reports.Proof) {
	if v := q.Control.Variant; v != nil {
		j.proveByVariant(ctx, e, q, v, proof)
	} else {
		j.proveByFault(ctx, e, q, q.Control.Fault, proof)
	}
	if proof.State == reports.Proved && greenAfter(q, e.Proof) {
		j.greenAgain(ctx, view{e.Family, e.Node}, q, proof)
	}
}

func (j *Judge) greenAgain(ctx context.Context, from view, q requirement.Requirement, proof *reports.Proof) {
	if err := j.guarded(ctx, j.env(q, from, patience), q, nil); err != nil && ctx.Err() == nil {
		proof.State, proof.Reason = reports.Refuted, "it is not green again after the control was lifted: "+err.Error()
	}
}

func (j *Judge) proveByVariant(ctx context.Context, e *requirement.Env, q requirement.Requirement, v *requirement.Variant, proof *reports.Proof) {
	proof.Point = "fixture"
	for _, role := range variantRoles(v) {
		if len(j.stage.Ends(role)) == 0 {
			proof.State, proof.Reason = reports.Unproved, fmt.Sprintf("nobody plays the %s: %s", role, j.stage.WhyNobody(role))
			return
		}
	}
	if v.ClusterScoped != "" && !j.stage.FaultsAllowed() {
		proof.State, proof.Reason = reports.Unproved, "the control makes "+clusterScoped(v.ClusterScoped)
		return
	}
	if v.Make != nil {
		lift, err := v.Make(ctx, e)
		if err != nil {
			proof.State, proof.Reason = reports.Unproved, "the variant could not be made: "+err.Error()
			return
		}
		defer func() {
			if err := undo.Do(ctx, lift); err != nil {
				proof.State, proof.Reason = reports.Refuted, "the variant could not be undone: "+err.Error()
			}
		}()
	}
	e.Variant = v
	verdict := j.guarded(ctx, e, q, nil)
	if verdict == nil && v.Given != nil && ctx.Err() == nil {
		if err := v.Given(ctx, e); err != nil {
			proof.State, proof.Reason = reports.Unproved, "the variant is not what it is called here: "+err.Error()
			return
		}
	}
	conclude(ctx, verdict, q, proof)
}

func variantRoles(v *requirement.Variant) (roles []world.Role) {
	for _, role := range v.Roles {
		roles = append(roles, role)
	}
	return roles
}

func (j *Judge) proveByFault(ctx context.Context, e *requirement.Env, q requirement.Requirement, f *requirement.Fault, proof *reports.Proof) {
	if !j.stage.FaultsAllowed() {
		proof.State, proof.Reason = reports.Unproved, "faults are injected into a cluster of yours only with -faults"
		return
	}
	var tried []string
	for _, point := range f.Points {
		acted, err := j.tryPoint(ctx, e, q, point, proof)
		if !acted && requirement.AsFailure(err) != nil && ctx.Err() == nil {
			// Red before the check came to what the fault is about: of a single attempt that may be a datagram lost on the way.
			acted, err = j.tryPoint(ctx, e, q, point, proof)
		}
		if acted {
			return
		}
		tried = append(tried, fmt.Sprintf("%s: %v", point.Where, err))
	}
	proof.State, proof.Reason = reports.Unproved, "no injection point acts here; "+strings.Join(tried, "; ")
}

// tryPoint injects at one point. acted is false where the fault could not be injected, or met none of
// the check's packets; the error has the check's failure then, where there was one.
func (j *Judge) tryPoint(ctx context.Context, e *requirement.Env, q requirement.Requirement, point requirement.Point, proof *reports.Proof) (acted bool, err error) {
	fault, err := point.Inject(ctx, e)
	if err != nil {
		return false, err
	}
	forget := j.stage.Undo("lifting the fault of "+q.ID, fault.Lift)
	defer func() {
		if e := undo.Do(ctx, fault.Lift); e != nil {
			acted, err = true, e
			proof.State, proof.Reason = reports.Refuted, e.Error()
			return
		}
		forget()
	}()
	verdict := j.guarded(ctx, e, q, nil)
	met, how, err := fault.Acted(ctx)
	if err != nil {
		return false, err
	}
	if !met {
		err := errors.New("it met none of the check's traffic")
		if verdict != nil {
			err = fmt.Errorf("%w; the check ended with: %w", err, verdict)
		}
		return false, err
	}
	proof.Point = point.Where + " (" + how + ")"
	conclude(ctx, verdict, q, proof)
	return true, nil
}

// conclude judges what the check said under its control.
func conclude(ctx context.Context, verdict error, q requirement.Requirement, proof *reports.Proof) {
	failure := requirement.AsFailure(verdict)
	var lacks *requirement.NotPermitted
	switch {
	case ctx.Err() != nil:
		proof.State, proof.Reason = reports.ProofNotRun, context.Cause(ctx).Error()
	case errors.As(verdict, &lacks):
		proof.State, proof.Reason = reports.Unproved, verdict.Error()
	case verdict == nil:
		proof.State, proof.Reason = reports.Refuted, "the control acts and the requirement stays green: the check can't see what it is for"
	case failure == nil:
		proof.State, proof.Reason = reports.Refuted, "the check could not judge under its control: "+verdict.Error()
	case !slices.Contains(q.Control.Red, failure.Reason):
		proof.State, proof.Reason = reports.Refuted, fmt.Sprintf("red for another reason (%s) than expected (%s): %s", failure.Reason, q.Control.Red, failure)
	default:
		proof.State, proof.Red = reports.Proved, failure.Error()
	}
}
