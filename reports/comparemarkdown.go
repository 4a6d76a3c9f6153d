package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteComparisonMarkdown writes a comparison as Markdown, in the order of WriteComparison: a table for each kind of
// difference, with a column for each cluster.
func WriteComparisonMarkdown(w io.Writer, c *Comparison) error {
	var b strings.Builder
	var names []string
	for _, col := range c.Columns {
		names = append(names, col.Name)
	}
	fmt.Fprintf(&b, "# Parley: %s\n\n%s.\n", markdown(strings.Join(names, ", ")), markdown(c.closing()))
	for _, n := range c.NotRun {
		fmt.Fprintf(&b, "\n**Not run: %s.** %s\n", markdown(n.Name), markdown(n.Reason))
	}
	for _, n := range slices.Concat(c.interruptions(), c.changes(), c.Notices) {
		fmt.Fprintf(&b, "\n**%s**\n", markdown(n))
	}
	sick, kept := c.nodesText()
	for _, n := range sick {
		fmt.Fprintf(&b, "\n**Sick node: %s**\n", markdown(n))
	}
	for _, n := range kept {
		fmt.Fprintf(&b, "\nNode that takes no ordinary pods: %s\n", markdown(n))
	}
	before := ""
	for _, group := range groupUnjudged(c.Differences) {
		d := group[0]
		if title := c.title(d, strings.ToLower); title != before {
			before = title
			fmt.Fprintf(&b, "\n## %s\n\n", markdown(sentenceCase(title)))
			markdownHead(&b, append(append([]string{"requirement", "level"}, names...), reasonLabel))
		}
		row := d.markdown()
		if len(group) > 1 {
			row = []string{markdown(andMore(d.ID, len(group))), ""}
		}
		for _, cell := range d.Cells {
			row = append(row, markdown(cell.groupText(group)))
		}
		markdownRow(&b, append(row, markdown(strings.Join(d.sentences(), "; "))))
	}
	if len(c.Everywhere) > 0 {
		b.WriteString("\n## On every cluster\n\n")
		markdownHead(&b, []string{"requirement", "level", "seen"})
		for _, d := range c.Everywhere {
			markdownRow(&b, append(d.markdown(), markdown(d.Cells[d.firstAsked()].text(d.Kind))))
		}
	}
	b.WriteString("\n## Counts\n\n")
	heads, rows := c.table()
	markdownTable(&b, heads, rows)
	for _, t := range measuredTables(c.Columns) {
		fmt.Fprintf(&b, "\n## %s\n\n", strings.ToUpper(t.title[:1])+t.title[1:])
		markdownTable(&b, t.heads, t.rows)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the comparison as Markdown: %w", err)
	}
	return nil
}

func (c *Comparison) interruptions() (all []string) {
	if c.Interrupted != "" {
		all = append(all, "Interrupted: "+c.Interrupted)
	}
	for _, col := range c.Columns {
		if col.Interrupted != "" {
			all = append(all, "Not judged to the end: "+col.Name+": "+col.Interrupted)
		}
	}
	return all
}

// changes are what changed of each cluster during its run.
func (c *Comparison) changes() (all []string) {
	for _, col := range c.Columns {
		for _, line := range sentencesOf(col.Changes) {
			all = append(all, sentenceCase(changedDuringTheRun)+": "+col.Name+": "+line)
		}
	}
	return all
}

// markdown are the cells that name the requirement.
func (d Difference) markdown() []string {
	return []string{"**" + markdown(d.ID) + "** " + markdown(d.Title), markdown(d.Level)}
}

func markdownTable(b *strings.Builder, heads []string, rows [][]string) {
	markdownHead(b, heads)
	for _, row := range rows {
		var cells []string
		for _, cell := range row {
			cells = append(cells, markdown(cell))
		}
		markdownRow(b, cells)
	}
}

// markdownHead begins a table.
func markdownHead(b *strings.Builder, heads []string) {
	var cells []string
	for _, h := range heads {
		cells = append(cells, markdown(h))
	}
	markdownRow(b, cells)
	b.WriteString("|" + strings.Repeat("---|", len(heads)) + "\n")
}

func markdownRow(b *strings.Builder, cells []string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

var markdownEscapes = strings.NewReplacer(`\`, `\\`, "|", `\|`, "`", "\\`", "<", "&lt;", ">", "&gt;", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`)

// markdown is text as one line that Markdown shows as it is.
func markdown(s string) string { return markdownEscapes.Replace(oneLine(s)) }
