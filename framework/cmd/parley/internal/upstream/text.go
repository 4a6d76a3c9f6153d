package upstream

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/parley-k8s/parley/framework/cmd/parley/internal/upstream/ginkgo"
)

// lineMax bounds a message's line in the text, in characters: an image's log can be one line.
const lineMax = 1200

// WriteText writes the comparison for a person: a table with a line for each round and suite, then the first line
// of each message.
func WriteText(w io.Writer, c *Comparison) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Kubernetes' own [sig-network] conformance specs (%s) and Parley, on one cluster in turn: %s\n", c.Kubernetes, c.Cluster)
	if len(c.StandIns) > 0 {
		fmt.Fprintf(&b, "images put together here in place of upstream's: %s\n", strings.Join(c.StandIns, ", "))
	}
	b.WriteByte('\n')
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROUND\tSUITE\tWALL\tJUDGED\tVERDICT\tNOT JUDGED\tFAULT ACTED")
	for _, r := range c.Rounds {
		for _, s := range r.sides() {
			fmt.Fprintf(table, "%s\t%s\t%.1fs\t%d\t%s\t%d\t%s\n", r.Title, s.name, float64(s.Wall), s.Judged, s.verdict(), len(s.Unjudged), acted(r, s.Side))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range c.Rounds {
		fmt.Fprintf(&b, "\n%s%s\n", r.Title, affectedNodes(r))
		for _, s := range r.sides() {
			s.writeMessages(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// namedSide is a Side with the name of its suite.
type namedSide struct {
	name string
	Side
}

func (r Round) sides() []namedSide {
	return []namedSide{{"upstream", r.Upstream}, {"Parley", r.Parley}}
}

func affectedNodes(r Round) string {
	if r.Where == "" {
		return ""
	}
	return " (" + r.Where + ")"
}

// acted is how often the fault met a packet.
func acted(r Round, s Side) string {
	if r.Where == "" {
		return "-"
	}
	return fmt.Sprint(s.Acted)
}

// verdict is a side in a few words.
func (s Side) verdict() string {
	switch {
	case s.Judged == 0:
		return "nothing judged"
	case len(s.Reds) == 0 && s.Ended != "":
		return "no red, cut short"
	case len(s.Reds) == 0:
		return "all green"
	}
	text := fmt.Sprintf("%d red", len(s.Reds))
	if before := len(s.Reds) - s.NewReds(); before > 0 {
		text += fmt.Sprintf(", %d of them when healthy too", before)
	}
	if s.Ended != "" {
		text += ", cut short"
	}
	return text
}

// writeMessages writes the messages of a side.
func (s namedSide) writeMessages(b *strings.Builder) {
	fmt.Fprintf(b, "  %s: %s", s.name, s.verdict())
	if s.NotAsked > 0 {
		fmt.Fprintf(b, " (%d more are unsupported here or left out by choice)", s.NotAsked)
	}
	b.WriteByte('\n')
	if s.Ended != "" {
		fmt.Fprintf(b, "    cut short: %s\n", firstLine(s.Ended))
	}
	for _, red := range s.Reds {
		note := ""
		if red.Warning {
			note += ", below MUST"
		}
		if red.Before {
			note += ", red when healthy too"
		}
		fmt.Fprintf(b, "    red after %.1fs, %d bytes%s: %s\n      %s\n", float64(red.Took), red.Bytes, note, red.Name, firstLine(red.Message))
	}
	for _, one := range s.Unjudged {
		fmt.Fprintf(b, "    not judged: %s\n      %s\n", one.Name, firstLine(one.Message))
	}
}

// firstLine is the text's first line, cut after lineMax characters.
func firstLine(text string) string {
	text = ginkgo.FirstLine(text)
	if utf8.RuneCountInString(text) > lineMax {
		text = string([]rune(text)[:lineMax]) + " ..."
	}
	return text
}
