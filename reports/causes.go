package reports

import (
	"fmt"
	"slices"
	"strings"
)

// Cause is what breaks one or more requirements, as the diagnosis of each found it.
type Cause struct {
	What string
	// Requirements are the IDs of those that it breaks.
	Requirements []string
	// Fails says that one of them fails the run.
	Fails bool
}

// mostBroken is how many of the requirements that a cause breaks are named in one line.
const mostBroken = 12

// Sentence is the cause in one line, with what it breaks.
func (c Cause) Sentence() string {
	named := strings.Join(c.Requirements[:min(len(c.Requirements), mostBroken)], ", ")
	if more := len(c.Requirements) - mostBroken; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	return oneLine(fmt.Sprintf("%s; it breaks %s: %s", c.What, requirements(len(c.Requirements)), named))
}

// Causes are what breaks the cluster's requirements, as far as the diagnosis found it; the one that breaks most comes first.
func (c *Cluster) Causes() (all []Cause) {
	for i := range c.Results {
		r := &c.Results[i]
		what := r.cause()
		if what == "" {
			continue
		}
		at := slices.IndexFunc(all, func(known Cause) bool { return known.What == what })
		if at < 0 {
			at, all = len(all), append(all, Cause{What: what})
		}
		all[at].Requirements = append(all[at].Requirements, r.ID)
		all[at].Fails = all[at].Fails || r.failsBy() != ""
	}
	slices.SortStableFunc(all, func(a, b Cause) int { return len(b.Requirements) - len(a.Requirements) })
	return all
}

// cause is what breaks the requirement; "" where it holds, or where nothing was found that breaks it.
func (r *Result) cause() string {
	if r.Outcome != Failed || r.Failure == nil {
		return ""
	}
	return r.Failure.Cause
}

// headline says how many causes there are and how many requirements they break: "1 cause, 61 requirements".
func headline(causes []Cause) string {
	broken := 0
	for _, c := range causes {
		broken += len(c.Requirements)
	}
	if len(causes) == 1 {
		return "1 cause, " + requirements(broken)
	}
	return fmt.Sprintf("%d causes, %s", len(causes), requirements(broken))
}

func requirements(n int) string {
	if n == 1 {
		return "1 requirement"
	}
	return fmt.Sprintf("%d requirements", n)
}

// causes are a line for each cause, on top of what it breaks.
func (s *summaryWriter) causes(c *Cluster) {
	all := c.Causes()
	if len(all) == 0 {
		return
	}
	var lines []string
	for _, one := range all {
		lines = append(lines, one.Sentence())
	}
	s.list(strings.ToUpper(headline(all)), s.red, lines)
}
