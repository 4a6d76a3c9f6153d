package reports

import "fmt"

// resultReason is a requirement and why its result is what it is.
type resultReason struct{ reason, id string }

// groupAbove is how many requirements with one reason still have a line each.
const groupAbove = 3

// line is the requirement and its reason in one line.
func (r resultReason) line() string { return r.id + ": " + r.reason }

// reasons are the cluster's results that selected chooses, each with what reason says of it.
func (c *Cluster) reasons(selected func(*Result) bool, reason func(*Result) string) (all []resultReason) {
	for i := range c.Results {
		if r := &c.Results[i]; selected(r) {
			all = append(all, resultReason{reason(r), r.ID})
		}
	}
	return all
}

// reasonLines are a line for each requirement.
func reasonLines(all []resultReason) (lines []string) {
	for _, r := range all {
		lines = append(lines, r.line())
	}
	return lines
}

// groupedReasonLines are a line for each requirement, or one for all with the same reason where they are many, in the order in
// which the reasons first appear.
func groupedReasonLines(all []resultReason) (lines []string) {
	ids := map[string][]string{}
	var order []string
	for _, r := range all {
		if ids[r.reason] == nil {
			order = append(order, r.reason)
		}
		ids[r.reason] = append(ids[r.reason], r.id)
	}
	for _, reason := range order {
		if len(ids[reason]) > groupAbove {
			lines = append(lines, andMore(ids[reason][0], len(ids[reason]))+": "+reason)
			continue
		}
		for _, id := range ids[reason] {
			lines = append(lines, resultReason{reason, id}.line())
		}
	}
	return lines
}

// andMore names the first of n.
func andMore(first string, n int) string {
	if n == 1 {
		return first
	}
	return fmt.Sprintf("%s and %d more", first, n-1)
}

// groupUnjudged splits differences into groups of one, but keeps together those that the same clusters could not judge for the
// same reason where they are many.
func groupUnjudged(all []Difference) (groups [][]Difference) {
	at := map[string]int{}
	for _, d := range all {
		key := d.unjudgedKey()
		if i, ok := at[key]; ok && key != "" {
			groups[i] = append(groups[i], d)
			continue
		}
		at[key] = len(groups)
		groups = append(groups, []Difference{d})
	}
	var split [][]Difference
	for _, g := range groups {
		if len(g) > groupAbove {
			split = append(split, g)
			continue
		}
		for _, d := range g {
			split = append(split, []Difference{d})
		}
	}
	return split
}

// unjudgedKey is equal for differences that the same clusters could not judge for the same reasons; "" for any other kind.
func (d Difference) unjudgedKey() (why string) {
	if d.Kind != DiffersInJudging {
		return ""
	}
	for _, c := range d.Cells {
		if c.Outcome == Errored {
			why += c.Column + "\x00" + c.Observed + "\x00"
		}
	}
	return why
}

// groupText is the cell's text, where the cell is of the first difference of a group of groupUnjudged. It is "" where the
// outcomes of this column may differ within the group.
func (c Cell) groupText(group []Difference) string {
	if len(group) > 1 && c.Outcome != Errored {
		return ""
	}
	return c.text(group[0].Kind)
}
