package judge

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// childVariable names the file that a process of these tests writes its results to: a round with failures fails its own test, so it
// is judged in a process of its own.
const childVariable = "PARLEY_TEST_ROUND"

// roundOf judges the catalogue of that name in another process. It returns the results by ID, and what go test printed and made of
// it.
func roundOf(t *testing.T, name string) (results map[string]reports.Result, output string, passed bool) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "results.json")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRoundInAProcess$", "-test.v=true")
	cmd.Env = append(os.Environ(), childVariable+"="+name+":"+file)
	out, err := cmd.CombinedOutput()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	text, err2 := os.ReadFile(file)
	require.NoError(t, err2, string(out))
	require.NoError(t, json.Unmarshal(text, &results))
	return results, string(out), err == nil
}

// TestRoundInAProcess is the other process.
func TestRoundInAProcess(t *testing.T) {
	name, file, ok := cutColon(os.Getenv(childVariable))
	if !ok {
		t.Skip("it is run by other tests")
	}
	c := roundCases[name]
	s := &fakeStage{faults: !c.others, missing: map[string]string{"pod/unsupported": "there is one node"}, families: []corev1.IPFamily{corev1.IPv4Protocol}}
	r := newRound(t, s, c.options)
	r.options.Catalogue = Catalogue{All: c.all(r), Chosen: c.leftOut, LeftOut: c.leftOut}
	if c.busy {
		r.busy.note(time.Now().Add(time.Hour))
	}
	defer func() {
		results := map[string]reports.Result{}
		for _, result := range r.record.Complete(r.options.Catalogue, "").Results {
			results[result.ID] = result
		}
		text, err := json.Marshal(results)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, text, 0o600))
	}()
	for range r.options.Rounds {
		r.Round(t.Context(), t)
	}
}

func cutColon(s string) (name, file string, ok bool) {
	for i := range s {
		if s[i] == ':' {
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// roundCase is one round that is judged in another process.
type roundCase struct {
	options Options
	others  bool // the cluster is somebody else's: no faults
	busy    bool // the nodes are, all the time
	leftOut map[string]string
	all     func(*round) []requirement.Requirement
}

func row(id string, level requirement.Level, check func(context.Context, *requirement.Env) error) requirement.Requirement {
	return requirement.Requirement{ID: id, Level: level, Check: check,
		Control: requirement.Control{Red: []requirement.Reason{requirement.NoAnswer}, Variant: &requirement.Variant{Fixture: "f"}}}
}

// always gives that answer under any variant; underControl gives red under one alone.
func always(err error) func(context.Context, *requirement.Env) error {
	return func(context.Context, *requirement.Env) error { return err }
}

func underControl(_ context.Context, e *requirement.Env) error {
	if e.Variant != nil {
		return noAnswer
	}
	return nil
}

// attempts fails as often as there are errors, and passes from then on.
func attempts(errs ...error) func(context.Context, *requirement.Env) error {
	var mu sync.Mutex
	return func(context.Context, *requirement.Env) error {
		mu.Lock()
		defer mu.Unlock()
		if len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	}
}

var roundCases = map[string]roundCase{
	"verdicts": {
		leftOut: map[string]string{"pod/left-out": "not chosen by -select"},
		all: func(*round) []requirement.Requirement {
			disrupts := row("pod/disrupts", requirement.Must, always(nil))
			disrupts.Disrupts = "it restarts a kubelet"
			return []requirement.Requirement{
				row("pod/passed", requirement.Must, always(nil)),
				row("pod/failed", requirement.Must, always(noAnswer)),
				row("pod/warned", requirement.Should, always(noAnswer)),
				row("pod/error", requirement.Must, always(errAgent)),
				row("pod/panic", requirement.Must, func(context.Context, *requirement.Env) error { panic("out of range") }),
				row("pod/unsupported", requirement.Must, always(nil)),
				row("pod/probed", requirement.Must, always(&requirement.Unsupported{Probed: "no SCTP socket"})),
				row("pod/left-out", requirement.Must, always(nil)),
				disrupts,
			}
		},
	},
	"others": {others: true, all: func(*round) []requirement.Requirement {
		disrupts := row("pod/disrupts", requirement.Must, always(noAnswer))
		disrupts.Disrupts = "it restarts a kubelet"
		scoped := row("pod/cluster-scoped", requirement.Must, always(noAnswer))
		scoped.ClusterScoped = "a webhook"
		return []requirement.Requirement{disrupts, scoped}
	}},
	"busy": {busy: true, all: func(*round) []requirement.Requirement {
		return []requirement.Requirement{
			row("pod/passes-alone", requirement.Must, attempts(noAnswer)),
			row("pod/passed", requirement.Must, always(nil)),
			row("pod/fails-alone", requirement.Must, always(noAnswer)),
		}
	}},
	"rounds": {options: Options{Rounds: 3}, all: func(*round) []requirement.Requirement {
		return []requirement.Requirement{row("pod/flaky", requirement.Must, attempts(nil, noAnswer)), row("pod/passed", requirement.Must, always(nil))}
	}},
	"at the end": {all: func(*round) []requirement.Requirement { return atEndCase() }},
	"at the end, rounds": {options: Options{Rounds: 3}, all: func(*round) []requirement.Requirement {
		return []requirement.Requirement{atEnd(row("pod/x", requirement.Must, attempts(nil, nil, nil, noAnswer)))}
	}},
	"proofs": {options: Options{Prove: true, ProveOnly: requirement.Selection{"pod"}}, all: func(*round) []requirement.Requirement {
		alone := row("pod/alone", requirement.Must, underControl)
		alone.Control.Alone = true
		partAlone := row("pod/part-alone", requirement.Must, underControl)
		partAlone.MoreControls = []requirement.Control{alone.Control}
		return []requirement.Requirement{
			row("pod/proved", requirement.Must, underControl), alone, partAlone,
			row("pod/refuted", requirement.Must, always(nil)),
			row("pod/failed", requirement.Should, always(noAnswer)),
			row("dns/not-asked", requirement.Must, underControl),
		}
	}},
	"no time for proofs": {options: Options{Prove: true, ProveWithin: time.Nanosecond}, all: func(*round) []requirement.Requirement {
		return []requirement.Requirement{row("pod/proved", requirement.Must, underControl)}
	}},
	"proofs, busy": {busy: true, options: Options{Prove: true}, all: func(*round) []requirement.Requirement {
		return []requirement.Requirement{row("pod/proved-alone", requirement.Must, attempts(nil, nil, noAnswer))}
	}},
}

func outcomes(results map[string]reports.Result) map[string]reports.Outcome {
	all := map[string]reports.Outcome{}
	for id, result := range results {
		all[id] = result.Outcome
	}
	return all
}

func TestRoundGivesEachItsVerdict(t *testing.T) {
	results, output, passed := roundOf(t, "verdicts")
	require.False(t, passed)
	require.Equal(t, map[string]reports.Outcome{
		"pod/passed": reports.Passed, "pod/failed": reports.Failed, "pod/warned": reports.Failed, "pod/error": reports.Errored, "pod/panic": reports.Errored,
		"pod/unsupported": reports.Unsupported, "pod/probed": reports.Unsupported, "pod/left-out": reports.Skipped, "pod/disrupts": reports.Passed,
	}, outcomes(results))
	require.Contains(t, results["pod/failed"].Failure.Observed, "timed out")
	require.Equal(t, filepath.Join("evidence", "pod", "failed"), results["pod/failed"].Failure.Evidence)
	require.Equal(t, "the agent is gone", results["pod/error"].Reason)
	require.Contains(t, results["pod/panic"].Reason, "panicked: out of range")
	require.Equal(t, "there is one node", results["pod/unsupported"].Reason)
	require.Equal(t, "no SCTP socket", results["pod/probed"].Reason)
	require.Contains(t, output, "--- FAIL: TestRoundInAProcess/holds/pod/failed")
	require.NotContains(t, output, "--- FAIL: TestRoundInAProcess/holds/pod/warned", "a SHOULD is a warning")
	require.Contains(t, output, "TestRoundInAProcess/holds,_one_at_a_time/pod/disrupts")
	require.Nil(t, results["pod/passed"].Proof, "proofs were not asked for")
}

func TestNothingIsDisruptedOnAClusterOfOthers(t *testing.T) {
	results, _, passed := roundOf(t, "others")
	require.True(t, passed)
	require.Equal(t, reports.Skipped, results["pod/disrupts"].Outcome)
	require.Contains(t, results["pod/disrupts"].Reason, "only with -faults")
	require.Equal(t, reports.Skipped, results["pod/cluster-scoped"].Outcome)
	require.Contains(t, results["pod/cluster-scoped"].Reason, "it makes a webhook, outside the run's own namespaces")
}

func TestWhatFailsOnBusyNodesIsJudgedAgainAlone(t *testing.T) {
	results, output, passed := roundOf(t, "busy")
	require.False(t, passed)
	require.Equal(t, map[string]reports.Outcome{"pod/passes-alone": reports.Passed, "pod/passed": reports.Passed, "pod/fails-alone": reports.Failed}, outcomes(results))
	require.Contains(t, results["pod/passes-alone"].PutOff, "timed out", "what was seen at first stays")
	require.Contains(t, results["pod/fails-alone"].PutOff, "timed out")
	require.Empty(t, results["pod/passed"].PutOff)
	require.Contains(t, output, "--- FAIL: TestRoundInAProcess/holds,_put_off/pod/fails-alone")
}

func TestRoundsAreCountedTogether(t *testing.T) {
	results, _, passed := roundOf(t, "rounds")
	require.False(t, passed)
	require.Equal(t, reports.Failed, results["pod/flaky"].Outcome)
	require.Equal(t, map[reports.Outcome]int{reports.Passed: 2, reports.Failed: 1}, results["pod/flaky"].Rounds)
	require.Equal(t, map[reports.Outcome]int{reports.Passed: 3}, results["pod/passed"].Rounds)
}

func TestRoundGivesEachItsProof(t *testing.T) {
	results, output, passed := roundOf(t, "proofs")
	require.False(t, passed)
	states := map[string]reports.ProofState{}
	for id, result := range results {
		if result.Proof != nil {
			states[id] = result.Proof.State
		}
	}
	require.Equal(t, map[string]reports.ProofState{"pod/proved": reports.Proved, "pod/alone": reports.Proved, "pod/part-alone": reports.Proved,
		"pod/refuted": reports.Refuted, "pod/failed": reports.ProofNotRun}, states)
	require.Contains(t, output, "--- FAIL: TestRoundInAProcess/can_fail/pod/refuted")
	require.Contains(t, output, "TestRoundInAProcess/can_fail,_one_at_a_time/pod/alone")
	require.Contains(t, output, "TestRoundInAProcess/can_fail,_one_at_a_time/pod/part-alone", "one of its controls is")
}

func TestProofsBeginOnlyWithinTheirTime(t *testing.T) {
	results, _, passed := roundOf(t, "no time for proofs")
	require.True(t, passed)
	require.Equal(t, reports.ProofNotRun, results["pod/proved"].Proof.State)
	require.Contains(t, results["pod/proved"].Proof.Reason, "was used up")
}

func TestAProofThatIsRefutedOnBusyNodesIsTriedAgainAlone(t *testing.T) {
	results, output, passed := roundOf(t, "proofs, busy")
	require.True(t, passed, output)
	require.Equal(t, reports.Proved, results["pod/proved-alone"].Proof.State, results["pod/proved-alone"].Proof.Reason)
	require.Contains(t, results["pod/proved-alone"].Proof.Reason, "on the second try")
	require.Contains(t, output, "can_fail,_put_off/pod/proved-alone")
}

// A round whose context has ended gives no verdict of what it did not see.
func TestAnInterruptedCheckIsAnError(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	r := newRound(t, &fakeStage{}, Options{})
	result := r.resultOf(ctx, row("pod/x", requirement.Must, func(context.Context, *requirement.Env) error {
		stop(errors.New("interrupted by a test"))
		return noAnswer
	}))
	require.Equal(t, reports.Errored, result.Outcome)
	require.Equal(t, "cut short: interrupted by a test", result.Reason)
}
