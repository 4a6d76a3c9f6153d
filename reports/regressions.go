package reports

import "slices"

// Regressions compares two columns, and is empty for any other number. lost are the MUSTs that passed on the first and failed
// or are unsupported on the second, known differences left out; unjudged are those that passed on the first and could not be
// judged on the second.
func (c *Comparison) Regressions() (lost, unjudged []Difference) {
	for _, d := range c.Differences {
		if len(d.Cells) != 2 || d.Level == Should || d.Level == Optional {
			continue
		}
		a, b := d.Cells[0], d.Cells[1]
		switch {
		case a.Outcome == Passed && b.Outcome == Errored:
			unjudged = append(unjudged, d)
		case b.Known != nil:
		case a.Outcome == Passed && (b.Outcome == Failed || b.Outcome == Unsupported) || familyRegressed(a, b):
			lost = append(lost, d)
		}
	}
	return lost, unjudged
}

// familyRegressed says whether an address family that both have passed on the first only.
func familyRegressed(a, b Cell) bool {
	for _, v := range a.Verdicts {
		if v.Outcome == Passed && slices.ContainsFunc(b.Verdicts, func(w Verdict) bool {
			return w.Family == v.Family && (w.Outcome == Failed || w.Outcome == Unsupported)
		}) {
			return true
		}
	}
	return false
}

// Compared is the number of requirements that were judged on every column and are supported on at least one.
func (c *Comparison) Compared() int {
	n := c.Same.Passed + c.Same.Failed + c.Same.Warnings
	for _, d := range c.Differences {
		if d.Kind == DiffersInHolding || d.Kind == DiffersInSupport && len(d.Holds)+len(d.Not) == len(d.Cells) {
			n++
		}
	}
	return n
}
