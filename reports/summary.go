package reports

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

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
	if len(list) > 0 {
		s.title(s.yellow, "NOT RUN")
	}
	for _, n := range list {
		s.item(n.Name + ": " + n.Reason)
	}
}

func (s *summaryWriter) notices(list []string) {
	if len(list) > 0 {
		s.title(s.yellow, "TO DO")
	}
	for _, n := range list {
		s.item(n)
	}
}

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

func (s *summaryWriter) block(text string) {
	fmt.Fprintf(&s.b, "  %s\n", indent(text, 2))
}

func (s *summaryWriter) cluster(c *Cluster) {
	s.title(s.bold, "cluster "+oneLine(c.Name))
	if c.Interrupted != "" {
		s.item("INTERRUPTED: " + c.Interrupted)
	}
	facts := tabwriter.NewWriter(&s.b, 0, 0, 2, ' ', 0)
	for _, f := range c.Facts {
		fmt.Fprintf(facts, "  %s\t%s\n", oneLine(f.Name), oneLine(f.Value))
	}
	_ = facts.Flush() // into memory

	s.b.WriteByte('\n')
	s.table(c)
	s.failures(c)
	s.reasons(c, "COULD NOT BE JUDGED", s.red, becauseLines, (*Result).Sentence, func(x *Result) bool { return !slices.Contains(outcomes[:4], x.Outcome) })
	s.warnings(c)
	s.reasons(c, "UNSUPPORTED BY THIS CLUSTER", s.yellow, becauseEach, (*Result).Sentence, func(x *Result) bool { return x.Outcome == Unsupported })
	// The reader judges whether the machine is to blame.
	s.reasons(c, "PASSED WHEN JUDGED AGAIN ALONE; AT FIRST, WHILE THE NODES WERE TOO BUSY", s.yellow, becauseEach,
		func(x *Result) string { return x.PutOff }, func(x *Result) bool { return x.Outcome == Passed && x.PutOff != "" })
	s.skipped(c)
	s.rounds(c)
	s.proofs(c)
	s.converged(c)
	s.paths(c)
}

// table is a line per chapter. Its counts come last and uncoloured, since colours would count as width.
func (s *summaryWriter) table(c *Cluster) {
	if len(c.Results) == 0 {
		s.item("no requirement was judged")
		return
	}
	var plain bytes.Buffer
	var whole []bool
	t := tabwriter.NewWriter(&plain, 0, 0, 2, ' ', 0)
	for _, ch := range c.summaries() {
		fmt.Fprintf(t, "  %s\t%d passed of %d\t%s\n", oneLine(ch.Chapter), ch.Passed, ch.Asked(), ch.others())
		whole = append(whole, ch.Passed == ch.Asked())
	}
	_ = t.Flush() // into memory
	for i, line := range strings.Split(strings.TrimSuffix(plain.String(), "\n"), "\n") {
		if line = strings.TrimRight(line, " "); i < len(whole) && whole[i] {
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

// reasons writes why results are what they are, in the lines that are made of them.
func (s *summaryWriter) reasons(c *Cluster, title string, p paint, lines func([]because) []string, why func(*Result) string, of func(*Result) bool) {
	var all []because
	for i := range c.Results {
		if res := &c.Results[i]; of(res) {
			all = append(all, because{why(res), res.ID})
		}
	}
	if len(all) > 0 {
		s.title(p, title)
	}
	for _, line := range lines(all) {
		s.item(line)
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
	if len(order) > 0 {
		s.title(s.yellow, "SKIPPED")
	}
	for _, why := range order {
		s.item(fmt.Sprintf("%d: %s", n[why], why))
	}
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

// lastWords is how many results the last lines name.
const lastWords = 10

// closing is one line for the whole run, and what made it red: the end is what a CI system shows of a long output.
func (s *summaryWriter) closing(r *Report) {
	s.title(s.bold, ClosingLine(r))
	var red []string
	for i := range r.Clusters {
		for j := range r.Clusters[i].Results {
			if why := r.Clusters[i].Results[j].reddens(); why != "" {
				red = append(red, why)
			}
		}
	}
	for _, why := range red[:min(len(red), lastWords)] {
		fmt.Fprintf(&s.b, "  %s\n", s.red(oneLine(why)))
	}
	if more := len(red) - lastWords; more > 0 {
		s.item(fmt.Sprintf("and %d more, above", more))
	}
}

// reddens says why the run does not pass by this result; "" where it may.
func (r *Result) reddens() string {
	switch {
	case r.Outcome == Failed && !r.Warning:
		return "FAILED " + r.ID + ": " + r.Sentence()
	case !slices.Contains(outcomes[:4], r.Outcome):
		return "NOT JUDGED " + r.ID + ": " + r.Sentence()
	case r.refuted():
		return "REFUTED " + r.ID + ": " + r.Proof.Reason
	}
	return ""
}

// ClosingLine says in one line what became of the whole run.
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
