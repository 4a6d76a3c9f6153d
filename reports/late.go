package reports

import (
	"cmp"
	"fmt"
	"slices"
)

func (h LateHold) sentence() string {
	return fmt.Sprintf("on attempt %d, after %s; at first: %s", h.Attempts, shortDuration(h.Took), h.First)
}

const (
	// maxLateLines is how many of the requirements that held late have a line, the latest first.
	maxLateLines = 10
	// fewSteady requirements may hold late about what nothing changed before the run is told so: the first connections through a proxy that
	// is still busy with the run's own Services are lost on a busy machine too.
	fewSteady = 5
)

// late is a requirement that held only on a later attempt, with the latest of its holds.
type late struct {
	id   string
	last LateHold
}

// lateOf are the requirements of the cluster that held only on a later attempt, the latest first, those among them that are about what
// nothing changed, and how many were judged at all.
func lateOf(c *Cluster) (all []late, steady, judged int) {
	for i := range c.Results {
		result := &c.Results[i]
		if result.Outcome != Skipped {
			judged++
		}
		if len(result.HeldLate) == 0 {
			continue
		}
		last := slices.MaxFunc(result.HeldLate, func(a, b LateHold) int { return cmp.Compare(a.Took, b.Took) })
		all = append(all, late{result.ID, last})
		if slices.ContainsFunc(result.HeldLate, func(h LateHold) bool { return h.Steady }) {
			steady++
		}
	}
	slices.SortStableFunc(all, func(a, b late) int { return cmp.Compare(b.last.Took, a.last.Took) })
	return all, steady, judged
}

// Unsteady says in a sentence that more than a few requirements about what nothing changed held only on a later attempt; "" where no
// more did.
func (c *Cluster) Unsteady() string {
	if _, steady, judged := lateOf(c); steady > fewSteady {
		return fmt.Sprintf("%d of %d requirements held only on a later attempt although nothing that they look at was changed: a path of this cluster works now and then, or its machines were too busy", steady, judged)
	}
	return ""
}

// heldLate counts the requirements that held only on a later attempt, and shows of the latest what the first attempt saw.
func (s *summaryWriter) heldLate(c *Cluster) {
	all, steady, judged := lateOf(c)
	if len(all) == 0 {
		return
	}
	title := fmt.Sprintf("HELD ONLY ON A LATER ATTEMPT %d of %d", len(all), judged)
	if steady > 0 {
		title += fmt.Sprintf(", %d of them about what nothing changed", steady)
	}
	s.title(s.yellow, title)
	if said := c.Unsteady(); said != "" {
		s.item(said)
	}
	for _, l := range all[:min(len(all), maxLateLines)] {
		s.item(l.id + ": " + l.last.sentence())
	}
	if more := len(all) - maxLateLines; more > 0 {
		s.item(fmt.Sprintf("and %d more: heldLate in %s", more, JSONFile))
	}
}
