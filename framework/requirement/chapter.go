package requirement

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Chapter is a part of the catalogue: the requirements whose IDs begin with its name.
type Chapter struct {
	Name string // in small letters: "pod"
	Says string // what it is about, in a few words that go on from "the chapter about"
	// Judged says how often a cluster is judged by it. There is no default: a chapter that says nothing is refused.
	Judged       Judged
	Requirements []Requirement // in the order in which they are listed and reported
}

// Judged is how often a chapter is judged where one cluster is judged under several OCI handlers.
type Judged string

const (
	// PerHandler is under each handler: it has a part in what the chapter is about, since it makes the containers and the
	// sandboxes that the chapter talks between.
	PerHandler Judged = "per handler"
	// PerCluster is once: the chapter says nothing of an OCI handler.
	PerCluster Judged = "per cluster"
)

// AllOf are the requirements of the chapters, in order.
func AllOf(chapters []Chapter) (all []Requirement) {
	for _, c := range chapters {
		all = append(all, c.Requirements...)
	}
	return all
}

var chapterForm = regexp.MustCompile(`^[a-z]+$`)

// ValidateChapters says everything that is wrong with a list of chapters, their requirements included: a duplicate or malformed
// name, nothing said of what it is about or how often it is judged, a requirement of another chapter's.
func ValidateChapters(chapters []Chapter) error {
	var problems []error
	seen := map[string]bool{}
	for _, c := range chapters {
		bad := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("the chapter %q: "+format, append([]any{c.Name}, args...)...))
		}
		switch {
		case !chapterForm.MatchString(c.Name):
			bad("the name is not in small letters")
		case seen[c.Name]:
			bad("it is there twice")
		}
		seen[c.Name] = true
		if c.Says == "" {
			bad("nothing says what it is about")
		}
		if c.Judged != PerHandler && c.Judged != PerCluster {
			bad("it does not say whether it is judged under each OCI handler (PerHandler) or once (PerCluster)")
		}
		if len(c.Requirements) == 0 {
			bad("it has no requirements")
		}
		for _, r := range c.Requirements {
			if !strings.HasPrefix(r.ID, c.Name+"/") {
				bad("the requirement %s is not its own", r.ID)
			}
		}
	}
	return errors.Join(append(problems, Validate(AllOf(chapters)))...)
}
