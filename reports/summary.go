package reports

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/fatih/color"
)

// WriteSummary writes the report for a person at a terminal: chapter by chapter how many passed of how many, then
// the failures as blocks, what could not be judged, the warnings, what is unsupported and why, the proofs, and the
// wall time with what made the run red. Skipped requirements are in no "of how many". With color, verdicts carry ANSI colours.
func WriteSummary(w io.Writer, r *Report, color bool) error {
	s := newSummaryWriter(color)
	s.notRun(r.NotRun)
	for i := range r.Clusters {
		s.cluster(&r.Clusters[i])
	}
	s.notices(r.Notices)
	if r.Interrupted != "" {
		s.title(s.red, "INTERRUPTED")
		s.item(r.Interrupted)
	}
	s.closing(r)
	if _, err := w.Write(bytes.TrimLeft(s.b.Bytes(), "\n")); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	return nil
}

func (s *summaryWriter) notRun(list []NotRun) {
	var lines []string
	for _, n := range list {
		lines = append(lines, n.Name+": "+n.Reason)
	}
	s.list("NOT RUN", s.yellow, lines)
}

func (s *summaryWriter) notices(list []string) { s.list("TO DO", s.yellow, list) }

type paint func(string) string

// summaryWriter gathers the text; nothing that it writes to can fail.
type summaryWriter struct {
	b                        bytes.Buffer
	red, green, yellow, bold paint
}

func newSummaryWriter(colored bool) *summaryWriter {
	brush := func(a color.Attribute) paint {
		c := color.New(a)
		// Decided by the caller alone, who knows what the writer is: not by this process's standard output.
		if c.DisableColor(); colored {
			c.EnableColor()
		}
		return func(s string) string { return c.Sprint(s) }
	}
	return &summaryWriter{red: brush(color.FgRed), green: brush(color.FgGreen),
		yellow: brush(color.FgYellow), bold: brush(color.Bold)}
}

func (s *summaryWriter) title(p paint, text string) { fmt.Fprintf(&s.b, "\n%s\n", p(text)) }

func (s *summaryWriter) item(text string) { fmt.Fprintf(&s.b, "  %s\n", oneLine(text)) }

// aligned writes rows of cells with aligned columns.
func (s *summaryWriter) aligned(rows [][]string) {
	for _, line := range alignedLines(rows) {
		s.b.WriteString(line + "\n")
	}
}

// list writes lines below a title; of none it writes nothing.
func (s *summaryWriter) list(title string, p paint, lines []string) {
	if len(lines) > 0 {
		s.title(p, title)
	}
	for _, line := range lines {
		s.item(line)
	}
}

func (s *summaryWriter) block(text string) {
	fmt.Fprintf(&s.b, "  %s\n", indent(text, 2))
}

func (s *summaryWriter) cluster(c *Cluster) {
	s.title(s.bold, "cluster "+oneLine(c.Name))
	if c.Interrupted != "" {
		s.item("INTERRUPTED: " + c.Interrupted)
	}
	s.nodes(c)
	var facts [][]string
	for _, f := range c.Facts {
		facts = append(facts, []string{oneLine(f.Name), oneLine(f.Value)})
	}
	s.aligned(facts)

	s.b.WriteByte('\n')
	s.chapterTable(c)
	s.causes(c)
	s.failures(c)
	unjudged := c.reasons((*Result).unjudged, (*Result).Sentence)
	s.list("COULD NOT BE JUDGED", s.red, groupedReasonLines(unjudged))
	s.warnings(c)
	partly := c.reasons(func(r *Result) bool { return r.Partly() != "" }, (*Result).Partly)
	s.list("PASSED IN PART", s.yellow, groupedReasonLines(partly))
	unsupported := c.reasons(func(r *Result) bool { return r.Outcome == Unsupported }, (*Result).Sentence)
	s.list("UNSUPPORTED BY THIS CLUSTER", s.yellow, reasonLines(unsupported))
	// The reader judges whether the machine is to blame.
	retried := c.reasons(func(r *Result) bool { return r.Outcome == Passed && r.PutOff != "" }, func(r *Result) string { return r.PutOff })
	s.list("PASSED WHEN JUDGED AGAIN; AT FIRST, WHILE THE NODES WERE TOO BUSY", s.yellow, reasonLines(retried))
	s.heldLate(c)
	s.list(strings.ToUpper(changedDuringTheRun), s.yellow, sentencesOf(c.Changes))
	s.skipped(c)
	s.rounds(c)
	s.proofs(c)
	s.converged(c)
	s.paths(c)
}

// chapterTable is a line per chapter, green where all passed. It is coloured last, since colours would count as width.
func (s *summaryWriter) chapterTable(c *Cluster) {
	if len(c.Results) == 0 {
		s.item("no requirement was judged")
		return
	}
	var rows [][]string
	var whole []bool
	for _, ch := range c.summaries() {
		rows = append(rows, []string{oneLine(ch.Chapter), fmt.Sprintf("%d passed of %d", ch.Passed, ch.Asked()), ch.others()})
		whole = append(whole, ch.Passed == ch.Asked())
	}
	for i, line := range alignedLines(rows) {
		if whole[i] {
			line = s.green(line)
		}
		s.b.WriteString(line + "\n")
	}
}

// others are the counts that are not of passed results, without the zeros.
func (c Counts) others() string {
	var parts []string
	for _, p := range []struct {
		n         int
		one, many string
	}{
		{c.Failed, "failed", "failed"}, {c.Errors, "not judged", "not judged"}, {c.Warnings, "warning", "warnings"},
		{c.Unsupported, "unsupported", "unsupported"}, {c.Skipped, "skipped", "skipped"},
	} {
		switch {
		case p.n == 1:
			parts = append(parts, "1 "+p.one)
		case p.n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.many))
		}
	}
	return strings.Join(parts, ", ")
}

func (s *summaryWriter) failures(c *Cluster) {
	for i := range c.Results {
		if res := &c.Results[i]; res.Outcome == Failed && !res.Warning {
			s.title(s.red, "FAILED "+res.heading())
			s.block(res.Block())
		}
	}
}

// heading names a result in one line: "pod/ip-unique (MUST): every pod has an address of its own".
func (r *Result) heading() string {
	return oneLine(strings.TrimSuffix(r.ID+" ("+r.Level+"): "+r.Title, ": "))
}

func (s *summaryWriter) warnings(c *Cluster) {
	for i := range c.Results {
		res := &c.Results[i]
		switch {
		case res.Outcome != Failed || !res.Warning:
			continue
		case res.Known != nil:
			s.title(s.yellow, "KNOWN DIFFERENCE "+res.heading())
			s.item("accepted " + res.Known.sentence())
		default:
			s.title(s.yellow, "WARNING "+res.heading())
		}
		s.block(res.Block())
	}
}

// skipped is a line per reason: a run of one chapter skips all the others for the same one.
func (s *summaryWriter) skipped(c *Cluster) {
	n := map[string]int{}
	var order []string
	for i := range c.Results {
		if res := &c.Results[i]; res.Outcome == Skipped {
			if n[res.Sentence()]++; n[res.Sentence()] == 1 {
				order = append(order, res.Sentence())
			}
		}
	}
	var lines []string
	for _, why := range order {
		lines = append(lines, fmt.Sprintf("%d: %s", n[why], why))
	}
	s.list("SKIPPED", s.yellow, lines)
}

func (s *summaryWriter) proofs(c *Cluster) {
	var p ProofCounts
	var open []*Result
	for i := range c.Results {
		res := &c.Results[i]
		before := p
		if p.add(res); p.Asked > before.Asked && p.Proved == before.Proved {
			open = append(open, res)
		}
	}
	if p.Asked == 0 {
		return
	}
	brush := s.green
	switch {
	case p.Refuted > 0:
		brush = s.red
	case len(open) > 0:
		brush = s.yellow
	}
	s.title(brush, fmt.Sprintf("PROVED %d of %d", p.Proved, p.Asked))
	for _, res := range open {
		s.item(res.ID + ": " + res.Proof.sentence())
	}
}

// maxClosingLines is how many of the results that made the run red are named at its end.
const maxClosingLines = 10

// closing is one line for the whole run, what made it red, causes first, which proofs were refuted once before they were proved, and what changed
// during the run: the end is what a CI system shows of a long output.
func (s *summaryWriter) closing(r *Report) {
	s.title(s.bold, ClosingLine(r))
	var red, doubtful, changed []string
	for i := range r.Clusters {
		for _, c := range r.Clusters[i].Causes() {
			if line := "CAUSE " + c.Sentence(); c.Fails {
				red = append(red, line)
			} else {
				doubtful = append(doubtful, line)
			}
		}
	}
	for i := range r.Clusters {
		red = append(red, r.Clusters[i].notJudgedOn()...)
		changed = append(changed, sentencesOf(r.Clusters[i].Changes)...)
		for j := range r.Clusters[i].Results {
			res := &r.Clusters[i].Results[j]
			if why := res.failsBy(); why != "" && res.cause() == "" { // those that a cause breaks are named with it
				red = append(red, why)
			}
			if p := res.Proof; p != nil && p.State == Proved && p.Reason != "" {
				doubtful = append(doubtful, "PROVED "+res.ID+": "+p.Reason) // refuted once, and no failure
			}
		}
	}
	for _, why := range red[:min(len(red), maxClosingLines)] {
		fmt.Fprintf(&s.b, "  %s\n", s.red(oneLine(why)))
	}
	if more := len(red) - maxClosingLines; more > 0 {
		s.item(fmt.Sprintf("and %d more, above", more))
	}
	for _, why := range doubtful[:min(len(doubtful), maxClosingLines)] {
		fmt.Fprintf(&s.b, "  %s\n", s.yellow(oneLine(why)))
	}
	for i := range r.Clusters {
		if said := r.Clusters[i].Unsteady(); said != "" {
			fmt.Fprintf(&s.b, "  %s\n", s.yellow(said))
		}
	}
	for _, what := range changed[:min(len(changed), maxClosingLines)] {
		fmt.Fprintf(&s.b, "  %s\n", s.yellow("CHANGED "+what))
	}
}

// failsBy says how this result keeps the run from passing; "" where it does not.
func (r *Result) failsBy() string {
	switch {
	case r.Outcome == Failed && !r.Warning:
		return "FAILED " + r.ID + ": " + r.Sentence()
	case r.unjudged():
		return "NOT JUDGED " + r.ID + ": " + r.Sentence()
	case r.refuted():
		return "REFUTED " + r.ID + ": " + r.Proof.Reason
	}
	return ""
}

// ClosingLine is the counts of the whole run in one line.
func ClosingLine(r *Report) string {
	sum := r.Summary()
	line := fmt.Sprintf("%d passed of %d", sum.Passed, sum.Asked())
	if others := sum.others(); others != "" {
		line += ", " + others
	}
	if p := sum.Proofs; p.Asked > 0 {
		line += fmt.Sprintf("; proved %d of %d", p.Proved, p.Asked)
	}
	if took := r.took(); took > 0 {
		line += "; took " + shortDuration(took)
	}
	return line
}
