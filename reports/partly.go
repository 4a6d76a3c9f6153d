package reports

import (
	"slices"
	"strings"
)

// Partly says of a requirement that passed where it was not judged, and why: over one address family of two, or on some nodes. It is "" where
// that is nowhere, and for any other outcome, whose Sentence says why.
func (r *Result) Partly() string {
	if r.Outcome != Passed {
		return ""
	}
	var all []string
	add := func(where string, outcome Outcome, reason string) {
		if outcome == Passed {
			return
		}
		said := string(outcome) + " " + where
		if reason != "" {
			said += ": " + reason
		}
		if said = oneLine(said); !slices.Contains(all, said) {
			all = append(all, said)
		}
	}
	for _, v := range r.Verdicts {
		add("over "+v.Family, v.Outcome, v.Reason)
	}
	for _, v := range r.ByNode {
		if !slices.ContainsFunc(r.Verdicts, func(over Verdict) bool { return over.Family == v.Family && over.Outcome == v.Outcome }) {
			add("on "+v.Node+" over "+v.Family, v.Outcome, v.Reason)
		}
	}
	return strings.Join(all, "; ")
}
