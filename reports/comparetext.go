package reports

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteComparison writes a comparison for a person at a terminal: what was not run, the differences, what holds
// nowhere, and a table with a column for each cluster.
func WriteComparison(w io.Writer, c *Comparison, color bool) error {
	s := newSummaryWriter(color)
	s.notRun(c.NotRun)
	sick, kept := c.nodesText()
	s.list(sickNodes, s.red, sick)
	s.list(keptNodes, s.yellow, kept)
	s.differences(c)
	s.everywhere(c.Everywhere)
	s.comparedChapters(c)
	s.measuredTables(c.Columns)
	s.notices(c.Notices)
	for _, col := range c.Columns {
		if col.Interrupted != "" {
			s.title(s.red, "NOT JUDGED TO THE END: "+col.Name)
			s.item(col.Interrupted)
		}
		s.list(strings.ToUpper(changedDuringTheRun)+": "+col.Name, s.yellow, sentencesOf(col.Changes))
	}
	if c.Interrupted != "" {
		s.title(s.red, "INTERRUPTED")
		s.item(c.Interrupted)
	}
	s.title(s.bold, c.closing())
	if _, err := w.Write(bytes.TrimLeft(s.b.Bytes(), "\n")); err != nil {
		return fmt.Errorf("writing the comparison: %w", err)
	}
	return nil
}

func (s *summaryWriter) differences(c *Comparison) {
	if len(c.Differences) == 0 {
		return
	}
	width := len(reasonLabel)
	for _, col := range c.Columns {
		width = max(width, len(oneLine(col.Name)))
	}
	before := ""
	for _, group := range groupUnjudged(c.Differences) {
		d := group[0]
		if title := c.title(d, strings.ToUpper); title != before {
			before = title
			brush := s.yellow
			if d.Kind == DiffersInHolding {
				brush = s.red
			}
			s.title(brush, title)
		}
		if len(group) == 1 {
			s.item(d.heading())
		} else {
			s.item(andMore(d.ID, len(group)))
		}
		for _, cell := range d.Cells {
			if text := cell.groupText(group); text != "" {
				fmt.Fprintf(&s.b, "    %-*s  %s\n", width, oneLine(cell.Column), text)
			}
		}
		for _, sentence := range d.sentences() {
			fmt.Fprintf(&s.b, "    %-*s  %s\n", width, reasonLabel, sentence)
		}
	}
}

// reasonLabel stands before a documented reason, below the columns' names.
const reasonLabel = "reason"

// heading names the requirement in one line.
func (d Difference) heading() string {
	return (&Result{ID: d.ID, Level: d.Level, Title: d.Title}).heading()
}

// outcomeText is the cell's outcome for a reader, such as "FAILED" or "failed (known)".
func (c Cell) outcomeText() string {
	switch {
	case c.Outcome == "":
		return "not in this report"
	case c.NotAsked:
		return "not asked"
	case c.Outcome == Errored:
		return "not judged"
	case c.Outcome == Failed && c.Known != nil:
		return "failed (known)"
	case c.Outcome == Failed && c.Warning:
		return "failed (warning)"
	case c.Outcome == Failed:
		return "FAILED"
	}
	return string(c.Outcome)
}

// text is the cell in one line.
func (c Cell) text(kind DifferenceKind) string {
	s := c.outcomeText()
	if kind == DiffersInProof {
		if c.Proof != "" {
			s += ", " + string(c.Proof)
		}
		if c.ProofReason != "" {
			s += ": " + oneLine(c.ProofReason)
		}
		return s
	}
	if c.Outcome == Passed && c.Proof != "" && c.Proof != ProofNotRun {
		s += ", " + string(c.Proof) // whether this green can be relied on
	}
	var families []string
	for _, v := range c.Verdicts {
		if len(c.Verdicts) > 1 && v.Outcome != c.Outcome {
			families = append(families, oneLine(v.Family)+" "+string(v.Outcome))
		}
	}
	if len(families) > 0 {
		s += " (" + strings.Join(families, ", ") + ")"
	}
	if c.Observed != "" && (c.Outcome != Passed || kind == DiffersInHolding || kind == DiffersInSupport) {
		s += ": " + oneLine(c.Observed)
	}
	return s
}

// everywhere are the failures, and in a line for each reason what no cluster could judge.
func (s *summaryWriter) everywhere(list []Difference) {
	var unjudged []resultReason
	for _, d := range list {
		cell := d.Cells[d.firstAsked()]
		if cell.Outcome == Errored {
			unjudged = append(unjudged, resultReason{cell.Observed, d.ID})
			continue
		}
		brush := s.yellow
		if !cell.Warning {
			brush = s.red
		}
		s.title(brush, "ON EVERY CLUSTER "+cell.outcomeText()+" "+d.heading())
		s.item(cell.Column + ": " + cell.Observed)
	}
	s.list("JUDGED ON NO CLUSTER", s.red, groupedReasonLines(unjudged))
}

// comparedChapters is a table with a row for each chapter.
func (s *summaryWriter) comparedChapters(c *Comparison) {
	heads, rows := c.table()
	s.b.WriteByte('\n')
	s.aligned(append([][]string{heads}, rows...))
}

// table are the counts by chapter, of all, and of the proofs, with a column for each cluster.
func (c *Comparison) table() (heads []string, rows [][]string) {
	heads = []string{""}
	var chapters []string
	counts := map[string]map[int]Counts{}
	proofs := false
	for i, col := range c.Columns {
		heads = append(heads, oneLine(col.Name))
		proofs = proofs || col.Proofs.Asked > 0
		for _, ch := range col.Chapters {
			if ch.Asked() == 0 {
				continue // a chapter that nobody chose
			}
			if counts[ch.Chapter] == nil {
				counts[ch.Chapter] = map[int]Counts{}
				chapters = append(chapters, ch.Chapter)
			}
			counts[ch.Chapter][i] = ch.Counts
		}
	}
	row := func(name string, cell func(i int) string) {
		line := []string{oneLine(name)}
		for i := range c.Columns {
			line = append(line, cell(i))
		}
		rows = append(rows, line)
	}
	for _, ch := range chapters {
		row(ch, func(i int) string { return counts[ch][i].passedOf() })
	}
	row("all", func(i int) string { return c.Columns[i].Counts.passedOf() })
	if proofs {
		row("proved", func(i int) string {
			return fmt.Sprintf("%d of %d", c.Columns[i].Proofs.Proved, c.Columns[i].Proofs.Asked)
		})
	}
	for _, name := range c.differingFacts() {
		row(name, func(i int) string { return factOf(c.Columns[i].Facts, name) })
	}
	return heads, rows
}

// passedOf is "40 of 43, 2 failed", or a dash where all was skipped.
func (c Counts) passedOf() string {
	c.Skipped = 0
	if c.Asked() == 0 {
		return "-"
	}
	s := fmt.Sprintf("%d of %d", c.Passed, c.Asked())
	if others := c.others(); others != "" {
		s += ", " + others
	}
	return s
}

// differingFacts are the names of the facts in which the columns differ and that all of them have.
func (c *Comparison) differingFacts() (names []string) {
	if len(c.Columns) == 0 {
		return nil
	}
	for _, f := range c.Columns[0].Facts {
		there, same := true, true
		for _, col := range c.Columns {
			value := factOf(col.Facts, f.Name)
			there, same = there && value != "", same && value == f.Value
		}
		if there && !same {
			names = append(names, f.Name)
		}
	}
	return names
}

func factOf(facts []Fact, name string) string {
	for _, f := range facts {
		if f.Name == name {
			return oneLine(f.Value)
		}
	}
	return ""
}

// closing is one line on the whole.
func (c *Comparison) closing() string {
	unexplained, unjudged := 0, 0
	for _, d := range c.Differences {
		if d.Unexplained {
			unexplained++
		}
		if d.Kind == DiffersInJudging {
			unjudged++
		}
	}
	line := fmt.Sprintf("%s, %s", plural(len(c.Columns), "cluster"), plural(len(c.Differences)-unjudged, "difference"))
	if unexplained > 0 {
		line += fmt.Sprintf(" (%d without a documented reason)", unexplained)
	}
	if unjudged > 0 {
		line += fmt.Sprintf(", %d judged on some only", unjudged)
	}
	line += "; the same on all: " + fmt.Sprintf("%d passed of %d", c.Same.Passed, c.Same.Asked())
	if others := c.Same.others(); others != "" {
		line += ", " + others
	}
	if took := c.Ended.Sub(c.Started); !c.Started.IsZero() && took > 0 {
		line += "; took " + shortDuration(took.Round(time.Second))
	}
	return line
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
