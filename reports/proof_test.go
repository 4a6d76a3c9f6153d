package reports

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAProofByAllIsTheWorstOfEach(t *testing.T) {
	part := func(state ProofState, how, reason string) Proof {
		return Proof{State: state, How: how, Reason: reason, Took: time.Second}
	}
	for name, c := range map[string]struct {
		parts []Proof
		want  ProofState
		says  string
	}{
		"all proved":       {[]Proof{part(Proved, "variant: a", ""), part(Proved, "fault: b", "")}, Proved, "proved, 2 of 2 controls (variant: a); took 2s"},
		"one refuted":      {[]Proof{part(Proved, "variant: a", ""), part(Unproved, "c", "no"), part(Refuted, "fault: b", "it stays green")}, Refuted, "refuted, 1 of 3 controls (fault: b): it stays green; took 3s"},
		"one unproved":     {[]Proof{part(Unproved, "variant: a", "nobody plays it"), part(Proved, "fault: b", "")}, Unproved, "unproved, 1 of 2 controls (variant: a): nobody plays it; took 2s"},
		"one not reached":  {[]Proof{part(Proved, "variant: a", ""), part(ProofNotRun, "fault: b", "interrupted")}, ProofNotRun, "not run, 1 of 2 controls (fault: b): interrupted; took 2s"},
		"of one: the same": {[]Proof{part(Proved, "variant: a", "")}, Proved, "proved, 1 of 1 controls (variant: a); took 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			whole := ProofOfAll(c.parts)
			require.Equal(t, c.want, whole.State)
			require.Equal(t, c.says, whole.sentence())
			require.Equal(t, c.parts, whole.Parts)
			// Files have it, and a reader that knows nothing of parts reads the rest.
			b, err := json.Marshal(whole)
			require.NoError(t, err)
			var back Proof
			require.NoError(t, json.Unmarshal(b, &back))
			require.Equal(t, *whole, back)
		})
	}
	require.Equal(t, ProofNotRun, ProofOfAll(nil).State)
	bad := Result{ID: "pod/x", Outcome: Passed, Level: Must, Proof: &Proof{State: Proved, Parts: []Proof{{State: "odd"}}}}
	require.ErrorContains(t, bad.validate(), `unknown state of proof "odd"`)
}
