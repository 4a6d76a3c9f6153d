package requirement

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/parley-k8s/parley/fixtures/world"
)

var idForm = regexp.MustCompile(`^[a-z]+/[a-z0-9]+(-[a-z0-9]+)*$`)

// longestTitle bounds a title: it is one sentence in a table, on a terminal and in a browser. What it needs besides belongs in Why.
const longestTitle = 180

// Validate says everything that is wrong with a list of requirements: a duplicate or malformed ID, a
// missing or overlong sentence, a missing clause, explanation, check or control, nobody that it
// talks about, one node that stands for all without a reason.
func Validate(all []Requirement) error {
	var problems []error
	seen := map[string]bool{}
	for _, r := range all {
		bad := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("%s: "+format, append([]any{r.ID}, args...)...))
		}
		switch {
		case !idForm.MatchString(r.ID):
			bad("the ID is not chapter/name in small letters")
		case seen[r.ID]:
			bad("the ID is there twice")
		}
		seen[r.ID] = true
		if !strings.HasSuffix(r.Title, ".") || len(r.Title) < 20 {
			bad("the title is no sentence that says what must hold")
		}
		if n := utf8.RuneCountInString(r.Title); n > longestTitle {
			bad("the title has %d characters, %d more than allowed: say the rest in Why", n, n-longestTitle)
		}
		if r.Level != Must && r.Level != Should && r.Level != Optional {
			bad("the level %q is none of MUST, SHOULD and OPTIONAL", r.Level)
		}
		if !strings.HasPrefix(r.Clause.URL, "https://") || r.Clause.Says == "" {
			bad("the clause needs a link and what it says")
		}
		if r.Why == "" {
			bad("nothing explains it")
		}
		if r.Check == nil {
			bad("nothing checks it")
		}
		if len(r.Roles) == 0 {
			bad("it talks about nobody: name its roles")
		}
		validateNodes(r, bad)
		said := map[string]bool{}
		for i, c := range r.Controls() {
			of := bad
			if i > 0 {
				of = func(format string, args ...any) {
					bad("control %d, %q: "+format, append([]any{i + 1, c.Says}, args...)...)
				}
			}
			if validateControl(c, of); said[c.Says] {
				of("another control says the same of itself")
			}
			said[c.Says] = true
			for _, role := range c.Wants {
				if i == 0 || !slices.Contains(r.Wants, role) {
					of("it is about the role %q: only one of MoreControls may be, and only about one of the requirement's Wants", role)
				}
			}
		}
	}
	return errors.Join(problems...)
}

func validateNodes(r Requirement, bad func(string, ...any)) {
	switch everywhere := r.PerNode || slices.ContainsFunc(r.Roles, onEveryNode); {
	case everywhere && r.OneNode != "":
		bad("it says why one node is enough, and is judged on each")
	case !everywhere && r.OneNode == "":
		bad("it is judged on one node: make it PerNode, or say in OneNode why one is enough")
	}
}

// onEveryNode says whether the role is played on every node, or by who dials every node.
func onEveryNode(r world.Role) bool {
	return r == world.Everywhere || r == world.Node || r == world.Outside
}

func validateControl(c Control, bad func(string, ...any)) {
	if (c.Variant == nil) == (c.Fault == nil) {
		bad("the control is either a variant or a fault")
	}
	if c.Says == "" {
		bad("nothing says what the control changes")
	}
	if len(c.Red) == 0 {
		bad("nothing says for what reason its control must turn it red")
	}
	if c.Fault != nil && len(c.Fault.Points) == 0 {
		bad("the fault names no injection point")
	}
	if v := c.Variant; v != nil && len(v.Roles) == 0 && len(v.Services) == 0 && v.Fixture == "" && v.Make == nil {
		bad("the variant changes nothing")
	}
}
