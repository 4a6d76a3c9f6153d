package reports

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// ComparisonKind is the Kind of a Comparison in its file; its APIVersion is a Report's.
const ComparisonKind = "ConformanceComparison"

// Comparison has the requirements in which several clusters differ, and counts those in which they agree.
type Comparison struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Run, Host, Started, Ended and Interrupted are those of the run that judged the clusters; empty where two saved
	// reports were compared.
	Run         string    `json:"run,omitempty"`
	Host        string    `json:"host,omitempty"`
	Started     time.Time `json:"started,omitzero"`
	Ended       time.Time `json:"ended,omitzero"`
	Interrupted string    `json:"interrupted,omitempty"`
	Columns     []Column  `json:"columns"`
	NotRun      []NotRun  `json:"notRun,omitempty"`
	Notices     []string  `json:"notices,omitempty"`
	// Differences are in the order of their kinds, the worst first; within a kind, those that hold on the first column are first.
	Differences []Difference `json:"differences"`
	// Everywhere are the requirements that hold on none of the clusters that judged them: failed, or not judged.
	Everywhere []Difference `json:"everywhere,omitempty"`
	// Same counts the requirements that have the same outcome in all columns.
	Same Counts `json:"same"`
}

// Column is one cluster of a comparison.
type Column struct {
	Name        string   `json:"name"`
	Values      []string `json:"values,omitempty"`
	Interrupted string   `json:"interrupted,omitempty"`
	Facts       []Fact   `json:"facts,omitempty"`
	// Nodes are the nodes that were not judged like the others, and why.
	Nodes  []NodeFinding `json:"nodes,omitempty"`
	Counts Counts        `json:"counts"`
	Proofs ProofCounts   `json:"proofs"`
	// Chapters count by chapter, in the report's order.
	Chapters []ChapterSummary `json:"chapters,omitempty"`
	Paths    []Path           `json:"paths,omitempty"`
	Changes  []Change         `json:"changes,omitempty"`
	// Converged is how long changes took, over all requirements.
	Converged []Converged `json:"converged,omitempty"`
}

// DifferenceKind says in what the columns differ.
type DifferenceKind string

// The kinds, the worst first. A requirement that fits several is of the first.
const (
	// DiffersInHolding: it was seen to hold on some clusters and not to hold on others.
	DiffersInHolding DifferenceKind = "holds"
	// DiffersInSupport: some clusters lack a feature that it needs.
	DiffersInSupport DifferenceKind = "supported"
	// DiffersInJudging: on some clusters it could not be judged.
	DiffersInJudging DifferenceKind = "judged"
	// DiffersInChoice: on some clusters it was left out, or the report does not have it.
	DiffersInChoice DifferenceKind = "chosen"
	// DiffersInProof: the outcomes are the same, but its negative control acted on some clusters only.
	DiffersInProof DifferenceKind = "proved"
)

var differenceKinds = []DifferenceKind{DiffersInHolding, DiffersInSupport, DiffersInJudging, DiffersInChoice, DiffersInProof}

// Difference is one requirement with its outcome in each column.
type Difference struct {
	ID      string         `json:"id"`
	Title   string         `json:"title,omitempty"`
	Chapter string         `json:"chapter"`
	Level   string         `json:"level"`
	Clause  Clause         `json:"clause,omitzero"`
	Kind    DifferenceKind `json:"kind,omitempty"`
	// Holds names the columns on which it passed, Not those on which it failed or is unsupported.
	Holds []string `json:"holds,omitempty"`
	Not   []string `json:"not,omitempty"`
	// Reasons are the known differences that explain why it does not hold on a column.
	Reasons []Reason `json:"reasons,omitempty"`
	// Unknown names the columns on which it failed or is unsupported and no known difference explains it. An OPTIONAL
	// requirement that is unsupported needs no explanation.
	Unknown []string `json:"unknown,omitempty"`
	// Unexplained is true where Unknown is not empty.
	Unexplained bool   `json:"unexplained,omitempty"`
	Cells       []Cell `json:"cells"`
}

// Cell is the outcome of a requirement on one cluster.
type Cell struct {
	Column string `json:"column"`
	// Outcome is "" where the column's report does not have the requirement.
	Outcome Outcome `json:"outcome,omitempty"`
	Warning bool    `json:"warning,omitempty"`
	// NotAsked is Result.NotAsked.
	NotAsked bool `json:"notAsked,omitempty"`
	// Observed is the sentence of the failure, or of why it was not judged. Where it passed, it is the check's notes: mostly "".
	Observed string     `json:"observed,omitempty"`
	Verdicts []Verdict  `json:"verdicts,omitempty"`
	Proof    ProofState `json:"proof,omitempty"`
	// ProofReason says why the state of the proof is not Proved.
	ProofReason string `json:"proofReason,omitempty"`
	Known       *Known `json:"known,omitempty"`
	Lapsed      *Known `json:"lapsed,omitempty"`
}

// Compare compares the clusters of a report, requirement by requirement. Call MarkKnown and MarkWarnings before.
func Compare(r *Report) *Comparison {
	c := &Comparison{APIVersion: APIVersion, Kind: ComparisonKind, Run: r.Run, Host: r.Host, Started: r.Started, Ended: r.Ended,
		Interrupted: r.Interrupted, NotRun: r.NotRun, Notices: r.Notices, Differences: []Difference{}}
	for i := range r.Clusters {
		c.Columns = append(c.Columns, columnOf(&r.Clusters[i]))
	}
	byKind := map[DifferenceKind][]Difference{}
	for _, rows := range resultsByRequirement(r.Clusters) {
		d := difference(r.Clusters, rows)
		if d.Kind != "" {
			byKind[d.Kind] = append(byKind[d.Kind], d)
		}
		if d.Kind != "" && d.Kind != DiffersInProof {
			continue
		}
		at := d.firstAsked()
		if outcome := d.Cells[at].Outcome; outcome == Failed || outcome == Errored {
			c.Everywhere = append(c.Everywhere, d)
		}
		c.Same.add(rows[at])
	}
	for _, kind := range differenceKinds {
		slices.SortStableFunc(byKind[kind], func(a, b Difference) int {
			return cmp.Or(cmp.Compare(c.holdsFirst(a), c.holdsFirst(b)), cmp.Compare(len(b.Not), len(a.Not)))
		})
		c.Differences = append(c.Differences, byKind[kind]...)
	}
	return c
}

func columnOf(c *Cluster) Column {
	col := Column{Name: c.Name, Values: c.Values, Interrupted: c.Interrupted, Facts: c.Facts, Nodes: c.Nodes, Chapters: c.summaries(),
		Paths: c.Paths, Changes: c.Changes, Converged: c.Converged()}
	for i := range c.Results {
		col.Counts.add(&c.Results[i])
		col.Proofs.add(&c.Results[i])
	}
	return col
}

// resultsByRequirement are the results of each requirement, one for each cluster, nil where it has none; in the order of the
// first cluster that has them.
func resultsByRequirement(clusters []Cluster) (rows [][]*Result) {
	at := map[string]int{}
	for i := range clusters {
		for k := range clusters[i].Results {
			res := &clusters[i].Results[k]
			n, ok := at[res.ID]
			if !ok {
				n = len(rows)
				at[res.ID] = n
				rows = append(rows, make([]*Result, len(clusters)))
			}
			rows[n][i] = res
		}
	}
	return rows
}

func difference(clusters []Cluster, rows []*Result) Difference {
	first := rows[slices.IndexFunc(rows, func(r *Result) bool { return r != nil })]
	d := Difference{ID: first.ID, Title: first.Title, Chapter: first.Chapter, Level: first.Level, Clause: first.Clause}
	for i, res := range rows {
		cell := Cell{Column: clusters[i].Name}
		if res != nil {
			cell.Outcome, cell.Warning, cell.Verdicts, cell.Known, cell.Lapsed = res.Outcome, res.Warning, res.Verdicts, res.Known, res.Lapsed
			cell.NotAsked = res.NotAsked
			if cell.Observed = res.Sentence(); res.Outcome == Passed {
				cell.Observed = strings.Join(res.Notes, "; ")
			}
			if res.Proof != nil {
				cell.Proof, cell.ProofReason = res.Proof.State, res.Proof.Reason
			}
		}
		switch cell.Outcome {
		case Passed:
			d.Holds = append(d.Holds, cell.Column)
		case Failed, Unsupported:
			d.Not = append(d.Not, cell.Column)
		}
		d.Cells = append(d.Cells, cell)
	}
	d.Kind = kindOf(d.Cells)
	d.explain()
	return d
}

// firstAsked is the place of the first cell whose column has a part in the requirement; 0 where none has.
func (d Difference) firstAsked() int {
	return max(0, slices.IndexFunc(d.Cells, func(c Cell) bool { return !c.NotAsked }))
}

// kindOf is the gravest way in which cells differ, "" where they don't.
func kindOf(cells []Cell) DifferenceKind {
	var kind DifferenceKind
	for _, of := range append([]func(Cell) Outcome{outcomeOf}, perFamily(cells)...) {
		if k := kindOfOutcomes(cells, of); k != "" && (kind == "" || slices.Index(differenceKinds, k) < slices.Index(differenceKinds, kind)) {
			kind = k
		}
	}
	if kind == "" && differInProof(cells) {
		return DiffersInProof
	}
	return kind
}

// notCompared is the outcome of a column that lacks the family that is looked at, or has no part in the requirement.
const notCompared Outcome = "not compared"

func outcomeOf(c Cell) Outcome {
	if c.NotAsked {
		return notCompared
	}
	return c.Outcome
}

// perFamily look at one address family each. A cluster that has not the family is no difference: it was not asked.
func perFamily(cells []Cell) (all []func(Cell) Outcome) {
	var families []string
	for _, c := range cells {
		for _, v := range c.Verdicts {
			if !slices.Contains(families, v.Family) {
				families = append(families, v.Family)
			}
		}
	}
	for _, family := range families {
		all = append(all, func(c Cell) Outcome {
			for _, v := range c.Verdicts {
				if v.Family == family {
					return v.Outcome
				}
			}
			return notCompared
		})
	}
	return all
}

func kindOfOutcomes(cells []Cell, of func(Cell) Outcome) DifferenceKind {
	there := map[Outcome]bool{}
	for _, c := range cells {
		if o := of(c); o != notCompared {
			there[o] = true
		}
	}
	switch {
	case len(there) < 2:
		return ""
	case there[Passed] && there[Failed]:
		return DiffersInHolding
	case there[Unsupported] && (there[Passed] || there[Failed]):
		return DiffersInSupport
	case there[Errored]:
		return DiffersInJudging
	}
	return DiffersInChoice
}

// differInProof says whether a control acted on some of the clusters that tried it and not on others.
func differInProof(cells []Cell) bool {
	there := map[ProofState]bool{}
	for _, c := range cells {
		if c.Proof != "" && c.Proof != ProofNotRun {
			there[c.Proof] = true
		}
	}
	return len(there) > 1
}
