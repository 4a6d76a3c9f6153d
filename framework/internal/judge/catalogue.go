package judge

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// Catalogue is the list of requirements, and which of them run on one column.
type Catalogue struct {
	All      []requirement.Requirement
	chapters []requirement.Chapter
	// Chosen says of each ID why the user left it out, LeftOut why it does not run on this column, for that or another reason; both are
	// "" for one that does.
	Chosen, LeftOut map[string]string
}

// NewCatalogue is the chapters' requirements, all of which run but those that chosen says why of, by ID.
func NewCatalogue(chapters []requirement.Chapter, chosen map[string]string) Catalogue {
	return Catalogue{All: requirement.AllOf(chapters), chapters: chapters, Chosen: chosen, LeftOut: chosen}
}

// UnderHandler is the catalogue of a column that is judged under an OCI handler of its own: chapters that say nothing of one are left
// out besides.
func (c Catalogue) UnderHandler() Catalogue {
	left := map[string]string{}
	maps.Copy(left, c.LeftOut)
	c.LeftOut = left
	for _, chapter := range c.chapters {
		if chapter.Judged == requirement.PerHandler {
			continue
		}
		for _, q := range chapter.Requirements {
			if c.LeftOut[q.ID] == "" {
				c.LeftOut[q.ID] = "the chapter " + chapter.Name + " says nothing of an OCI handler: it is judged without -handler"
			}
		}
	}
	return c
}

// Runs says whether the requirement is to be judged.
func (c Catalogue) Runs(q requirement.Requirement) bool { return c.LeftOut[q.ID] == "" }

// FreePort is the first of the requirement.PortsEach ports that belong to no requirement.
func (c Catalogue) FreePort() int { return firstPort + requirement.PortsEach*len(c.All) }

// port is the first of the requirement's own ports.
func (c Catalogue) port(id string) int {
	place := max(0, slices.IndexFunc(c.All, func(q requirement.Requirement) bool { return q.ID == id }))
	return firstPort + requirement.PortsEach*place
}

// drawn is the list in the order that the seed draws, or as it stands without one.
func (c Catalogue) drawn(seed string) []requirement.Requirement {
	if seed == "" {
		return c.All
	}
	all := slices.Clone(c.All)
	place := func(q requirement.Requirement) string {
		sum := sha256.Sum256([]byte(seed + q.ID))
		return string(sum[:])
	}
	slices.SortFunc(all, func(a, b requirement.Requirement) int { return strings.Compare(place(a), place(b)) })
	return all
}

// blank is the result of a requirement about which nothing is known yet.
func blank(q requirement.Requirement) reports.Result {
	return reports.Result{ID: q.ID, Title: q.Title, Chapter: q.Chapter(), Level: string(q.Level),
		Clause: reports.Clause{URL: q.Clause.URL, Text: q.Clause.Says}}
}

// What judging takes on a busy machine of two cores.
const (
	judgeRows = time.Minute // at least, and more for each of many:
	judgeRow  = 700 * time.Millisecond
	proveRows = 90 * time.Second // the same
	proveRow  = 800 * time.Millisecond
	slowRows  = 12 * time.Minute
)

// Takes is the time to judge what runs, and to prove it where that is asked for, for the question whether that fits go test's
// -timeout.
func (c Catalogue) Takes(prove bool, rounds int) time.Duration {
	rows, controls, slow := 0, 0, false
	for _, q := range c.All {
		if c.Runs(q) {
			rows++
			controls += len(q.Controls())
			slow = slow || q.Slow
		}
	}
	need := max(judgeRows, time.Duration(rows)*judgeRow)
	if prove {
		need += max(proveRows, time.Duration(controls)*proveRow)
	}
	if slow {
		need += slowRows
	}
	return need * time.Duration(rounds)
}

// Roles are the roles that what runs and, with prove, its controls talk about.
// A requirement that is judged per node has its own played near each worker; its controls are applied near one.
func (c Catalogue) Roles(prove bool) world.Roles {
	need := world.Roles{}
	for _, q := range c.All {
		if !c.Runs(q) {
			continue
		}
		spread := world.Once
		if q.PerNode {
			spread = world.PerNode
		}
		need.Want(spread, slices.Concat(q.Roles, q.Wants)...)
		if !prove {
			continue
		}
		for _, c := range q.Controls() {
			if c.Variant == nil {
				need.Want(world.Once, world.Node, world.Liar)
				continue
			}
			for _, role := range c.Variant.Roles {
				need.Want(world.Once, role)
			}
		}
	}
	return need
}
