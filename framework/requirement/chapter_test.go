package requirement_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

func TestValidateChapters(t *testing.T) {
	of := func(id string) []requirement.Requirement {
		return []requirement.Requirement{{
			ID: id, Title: "A pod reaches its own address.", Level: requirement.Must, Why: "all rests on it",
			Clause: requirement.Clause{URL: "https://kubernetes.io", Says: "so"}, PerNode: true, Roles: []world.Role{world.Near},
			Check: func(context.Context, *requirement.Env) error { return nil },
			Control: requirement.Control{Says: "another", Red: []requirement.Reason{"refused"},
				Variant: &requirement.Variant{Fixture: "another"}},
		}}
	}
	good := requirement.Chapter{Name: "pod", Says: "pods", Judged: requirement.PerHandler, Requirements: of("pod/own-ip")}
	with := func(change func(*requirement.Chapter)) []requirement.Chapter {
		c := good
		change(&c)
		return []requirement.Chapter{c}
	}
	for name, c := range map[string]struct {
		chapters []requirement.Chapter
		says     string
	}{
		"none":               {nil, ""},
		"one":                {[]requirement.Chapter{good}, ""},
		"no name":            {with(func(c *requirement.Chapter) { c.Name = "Pod" }), `the chapter "Pod": the name is not in small letters`},
		"twice":              {[]requirement.Chapter{good, good}, `the chapter "pod": it is there twice`},
		"nothing said":       {with(func(c *requirement.Chapter) { c.Says = "" }), "nothing says what it is about"},
		"handlers forgotten": {with(func(c *requirement.Chapter) { c.Judged = "" }), "it does not say whether it is judged under each OCI handler"},
		"empty":              {with(func(c *requirement.Chapter) { c.Requirements = nil }), "it has no requirements"},
		"another's":          {with(func(c *requirement.Chapter) { c.Requirements = of("podx/own-ip") }), "the requirement podx/own-ip is not its own"},
		"a bad requirement":  {with(func(c *requirement.Chapter) { c.Requirements = of(c.Name + "/own-ip"); c.Requirements[0].Why = "" }), "pod/own-ip: nothing explains it"},
	} {
		t.Run(name, func(t *testing.T) {
			err := requirement.ValidateChapters(c.chapters)
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestAllOf(t *testing.T) {
	all := requirement.AllOf([]requirement.Chapter{
		{Requirements: []requirement.Requirement{{ID: "b/x"}, {ID: "b/a"}}},
		{Requirements: []requirement.Requirement{{ID: "a/y"}}},
	})
	require.Equal(t, []string{"b/x", "b/a", "a/y"}, []string{all[0].ID, all[1].ID, all[2].ID})
}
