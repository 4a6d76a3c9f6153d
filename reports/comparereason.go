package reports

import (
	"fmt"
	"slices"
	"strings"
)

// Reason is a known difference that explains why a requirement does not hold on some columns.
type Reason struct {
	// Columns are the names of those columns.
	Columns []string `json:"columns"`
	// Where, Link, Why and Expires are the known difference's.
	Where   string `json:"where"`
	Link    string `json:"link"`
	Why     string `json:"why,omitempty"`
	Expires string `json:"expires"`
	// Lapsed says that the entry has expired: it still explains the difference, and no longer accepts it.
	Lapsed bool `json:"lapsed,omitempty"`
}

// noReason is what is said of a difference that nobody has documented.
const noReason = "unknown: no documented reason is known"

// explain finds what is documented of a difference.
func (d *Difference) explain() {
	if d.Kind == "" {
		return
	}
	for _, c := range d.Cells {
		k, lapsed := c.Known, false
		if k == nil {
			k, lapsed = c.Lapsed, true
		}
		switch {
		case k != nil:
			d.reason(c.Column, *k, lapsed)
		case d.Kind == DiffersInJudging: // those that judged it agree
		case c.Outcome == Failed || c.Outcome == Unsupported && d.Level != Optional:
			d.Unknown = append(d.Unknown, c.Column)
		}
	}
	d.Unexplained = len(d.Unknown) > 0
}

// reason adds what an entry says of a column.
func (d *Difference) reason(column string, k Known, lapsed bool) {
	r := Reason{Where: k.Where, Link: k.Link, Why: k.Why, Expires: k.Expires, Lapsed: lapsed}
	i := slices.IndexFunc(d.Reasons, func(other Reason) bool {
		return other.Where == r.Where && other.Link == r.Link && other.Why == r.Why && other.Expires == r.Expires && other.Lapsed == r.Lapsed
	})
	if i < 0 {
		d.Reasons, i = append(d.Reasons, r), len(d.Reasons)
	}
	d.Reasons[i].Columns = append(d.Reasons[i].Columns, column)
}

// sentences are the reasons in a line each; the last names the columns of which none is documented.
func (d Difference) sentences() (all []string) {
	for _, r := range d.Reasons {
		s := "known "
		if r.Lapsed {
			s = "expired, so it counts again: "
		}
		all = append(all, s+Known{Where: r.Where, Link: r.Link, Why: r.Why, Expires: r.Expires}.sentence())
	}
	switch {
	case len(d.Unknown) == 0:
	case len(d.Unknown)+len(d.Reasons) == 1:
		all = append(all, noReason)
	default:
		all = append(all, oneLine("on "+strings.Join(d.Unknown, ", ")+" "+noReason))
	}
	return all
}

// holdsFirst is the place of the first column on which it holds, after all of them where it holds on none.
func (c *Comparison) holdsFirst(d Difference) int {
	i := slices.IndexFunc(c.Columns, func(col Column) bool { return slices.Contains(d.Holds, col.Name) })
	if i < 0 {
		return len(c.Columns)
	}
	return i
}

// kindTitles head the differences of each kind.
var kindTitles = map[DifferenceKind]string{
	DiffersInHolding: "holds on some only",
	DiffersInSupport: "supported on some only",
	DiffersInJudging: "judged on some only",
	DiffersInChoice:  "chosen on some only",
	DiffersInProof:   "proved on some only",
}

// title heads the difference and those like it. word writes the words of the title, which may hold names as they are: of two
// columns it says on which of them it holds.
func (c *Comparison) title(d Difference, word func(string) string) string {
	verb := map[DifferenceKind]string{DiffersInHolding: "holds", DiffersInSupport: "is supported"}[d.Kind]
	if verb == "" || len(c.Columns) != 2 || len(d.Holds) != 1 || len(d.Not) != 1 {
		return word(kindTitles[d.Kind])
	}
	return fmt.Sprintf("%s %s%s %s", word(verb+" on"), oneLine(d.Holds[0]), word(", not on"), oneLine(d.Not[0]))
}

// sentenceCase begins a text with a capital.
func sentenceCase(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
