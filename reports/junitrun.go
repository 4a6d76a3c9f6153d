package reports

import (
	"fmt"
	"strings"
)

// runSuites are a suite of what is said of the run itself and of whole clusters, or none.
func runSuites(r *Report) []junitSuite {
	s := junitSuite{Name: "run", Package: "parley.run", Hostname: oneLine(r.Host), Timestamp: timestamp(r.Started), Time: seconds(0)}
	add := func(name string) *junitCase {
		s.Cases = append(s.Cases, junitCase{Class: "parley.run", Name: oneLine(name), Time: seconds(0)})
		return &s.Cases[len(s.Cases)-1]
	}
	cutShort := func(name, why string) {
		why = oneLine(why)
		add(name).Error = &junitVerdict{Type: "interrupted", Message: why, Body: "The run ended before all was judged: " + why}
	}
	if r.Interrupted != "" {
		cutShort("run/complete", r.Interrupted)
	}
	for _, c := range r.Clusters {
		if c.Interrupted != "" {
			cutShort(strings.TrimSuffix("run/complete/"+c.Name, "/"), c.Interrupted)
		}
	}
	for _, c := range r.Clusters {
		for i, cause := range c.Causes() {
			add(strings.TrimSuffix(fmt.Sprintf("run/cause/%d/%s", i+1, c.Name), "/")).Skipped = &junitVerdict{Type: "cause", Message: cause.Sentence(),
				Body: "\n" + strings.Join(cause.Requirements, "\n") + "\n"}
		}
	}
	for _, c := range r.Clusters {
		if lines := sentencesOf(c.Changes); len(lines) > 0 {
			add(strings.TrimSuffix("run/unchanged/"+c.Name, "/")).Skipped = &junitVerdict{Type: "changed",
				Message: changedDuringTheRun + ": " + strings.Join(lines, "; "), Body: "\n" + strings.Join(lines, "\n") + "\n"}
		}
	}
	for _, n := range r.NotRun {
		add("run/made/" + n.Name).Skipped = &junitVerdict{Type: "not run", Message: "not run: " + oneLine(n.Reason)}
	}
	if len(s.Cases) == 0 {
		return nil
	}
	return []junitSuite{s}
}
