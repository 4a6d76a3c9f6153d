package requirement

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/world"
)

func TestValidate(t *testing.T) {
	for says, spoil := range map[string]func(*Requirement){
		"": func(*Requirement) {},
		"the ID is not chapter/name in small letters":                                    func(r *Requirement) { r.ID = "A/b" },
		"the title is no sentence that says what must hold":                              func(r *Requirement) { r.Title = "Two pods reach each other" },
		"the title has 181 characters, 1 more than allowed":                              func(r *Requirement) { r.Title = strings.Repeat("é", 180) + "." },
		`the level "PERHAPS" is none of MUST, SHOULD and OPTIONAL`:                       func(r *Requirement) { r.Level = "PERHAPS" },
		"the clause needs a link and what it says":                                       func(r *Requirement) { r.Clause.Says = "" },
		"nothing explains it":                                                            func(r *Requirement) { r.Why = "" },
		"nothing checks it":                                                              func(r *Requirement) { r.Check = nil },
		"it talks about nobody: name its roles":                                          func(r *Requirement) { r.Roles = nil },
		"the control is either a variant or a fault":                                     func(r *Requirement) { r.Control.Fault = &Fault{Points: []Point{{}}} },
		"nothing says what the control changes":                                          func(r *Requirement) { r.Control.Says = "" },
		"nothing says for what reason its control must turn it red":                      func(r *Requirement) { r.Control.Red = nil },
		"the fault names no injection point":                                             func(r *Requirement) { r.Control.Variant, r.Control.Fault = nil, &Fault{} },
		"it is judged on one node: make it PerNode, or say in OneNode why one is enough": func(r *Requirement) { r.PerNode = false },
		"it says why one node is enough, and is judged on each":                          func(r *Requirement) { r.OneNode = "because" },
		"the variant changes nothing":                                                    func(r *Requirement) { r.Control.Variant = &Variant{} },
		`control 2, "a third": the variant changes nothing`: func(r *Requirement) {
			r.MoreControls = []Control{{Says: "a third", Variant: &Variant{}, Red: []Reason{NoAnswer}}}
		},
		`control 2, "a third": it is about the role "pod on another node"`: func(r *Requirement) {
			r.MoreControls = []Control{{Says: "a third", Variant: &Variant{Fixture: "third"}, Red: []Reason{NoAnswer}, Wants: []world.Role{world.Far}}}
		},
		`it is about the role "pod on the same node"`: func(r *Requirement) { r.Control.Wants = []world.Role{world.Near} },
		`control 3, "another fixture": another control says the same of itself`: func(r *Requirement) {
			r.MoreControls = []Control{{Says: "a third", Variant: &Variant{Fixture: "third"}, Red: []Reason{NoAnswer}}, r.Control}
		},
	} {
		t.Run(says, func(t *testing.T) {
			r := Requirement{ID: "pod/reach", Title: strings.Repeat("é", 179) + ".", Level: Must, Why: "because",
				Clause: Clause{URL: "https://kubernetes.io", Says: "pods reach each other"}, Roles: []world.Role{world.Near}, PerNode: true,
				Check:   func(context.Context, *Env) error { return nil },
				Control: Control{Says: "another fixture", Variant: &Variant{Fixture: "another"}, Red: []Reason{NoAnswer}}}
			spoil(&r)
			err := Validate([]Requirement{r})
			if says == "" {
				require.NoError(t, err)
				require.ErrorContains(t, Validate([]Requirement{r, r}), "the ID is there twice")
				return
			}
			require.ErrorContains(t, err, says)
		})
	}
}
