package reports

import "fmt"

// because is a requirement and why it was not judged.
type because struct{ why, id string }

// fewAlike is how many with one reason still have a line each.
const fewAlike = 3

func (b because) line() string { return b.id + ": " + b.why }

// becauseEach are a line for each.
func becauseEach(all []because) (lines []string) {
	for _, b := range all {
		lines = append(lines, b.line())
	}
	return lines
}

// becauseLines are a line for each, or one for all that have a reason in common, in the order in which reasons come up.
func becauseLines(all []because) (lines []string) {
	ids := map[string][]string{}
	var order []string
	for _, b := range all {
		if ids[b.why] == nil {
			order = append(order, b.why)
		}
		ids[b.why] = append(ids[b.why], b.id)
	}
	for _, why := range order {
		if len(ids[why]) > fewAlike {
			lines = append(lines, andMore(ids[why][0], len(ids[why]))+": "+why)
			continue
		}
		for _, id := range ids[why] {
			lines = append(lines, because{why, id}.line())
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

// alike puts differences that are written as one together: those of clusters that could not judge many for one reason.
func alike(all []Difference) (groups [][]Difference) {
	at := map[string]int{}
	for _, d := range all {
		key := d.unjudged()
		if i, ok := at[key]; ok && key != "" {
			groups[i] = append(groups[i], d)
			continue
		}
		at[key] = len(groups)
		groups = append(groups, []Difference{d})
	}
	var split [][]Difference
	for _, g := range groups {
		if len(g) > fewAlike {
			split = append(split, g)
			continue
		}
		for _, d := range g {
			split = append(split, []Difference{d})
		}
	}
	return split
}

// unjudged is where and why the requirement was not judged, of one that differs in that alone; "" of any other.
func (d Difference) unjudged() (why string) {
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

// of is the cell's text where it is the first's of a group from alike: "" where each of the group fared in its own way, which
// that cluster's own report tells.
func (c Cell) of(group []Difference) string {
	if len(group) > 1 && c.Outcome != Errored {
		return ""
	}
	return c.text(group[0].Kind)
}
