package reports

import (
	"fmt"
	"strings"
)

// measuredTable are figures of one kind with a column for each cluster; its rows come in the order of the first
// cluster that has them.
type measuredTable struct {
	title string
	heads []string
	rows  [][]string
}

// measuredTables are the tables of what was measured on the clusters, without those that nobody measured.
func measuredTables(columns []Column) (tables []measuredTable) {
	latency := newMeasuredTable("latency p50 (lowest to highest round), never judged", columns)
	converged := newMeasuredTable("convergence: from a change to the last wrong answer, p50, p99 and maximum", columns)
	for i, col := range columns {
		for _, p := range col.Paths {
			latency.setCell(i, p.Name, p.LatencyP50.String())
		}
		for _, one := range col.Converged {
			_, wrong := one.Quantiles()
			converged.setCell(i, one.What, fmt.Sprintf("%s, %s, %s", threeDigits(wrong.P50), threeDigits(wrong.P99), threeDigits(wrong.Max)))
		}
	}
	for _, t := range []*measuredTable{converged, latency} {
		if len(t.rows) > 0 {
			tables = append(tables, *t)
		}
	}
	return tables
}

func newMeasuredTable(title string, columns []Column) *measuredTable {
	t := &measuredTable{title: title, heads: []string{""}}
	for _, col := range columns {
		t.heads = append(t.heads, oneLine(col.Name))
	}
	return t
}

func (t *measuredTable) setCell(column int, name, cell string) {
	name = oneLine(name)
	for _, row := range t.rows {
		if row[0] == name {
			row[column+1] = cell
			return
		}
	}
	row := make([]string, len(t.heads))
	row[0], row[column+1] = name, cell
	t.rows = append(t.rows, row)
}

// measuredTables shows what was measured.
func (s *summaryWriter) measuredTables(columns []Column) {
	for _, table := range measuredTables(columns) {
		s.title(s.bold, strings.ToUpper(table.title[:1])+table.title[1:])
		s.aligned(append([][]string{table.heads}, table.rows...))
	}
}
