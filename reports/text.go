package reports

import (
	"bytes"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

// printable makes text safe for a terminal and for XML 1.0: what is not a printing character, a blank, a tab or a
// line feed is written as an escape (\x1b, \u202e), and so is each byte that is not UTF-8. What a peer sent can
// then neither steer a terminal nor make a file that no parser takes, and can still be read.
func printable(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unprintable(c):
			b.WriteRune(c)
		case c == '\r':
			b.WriteString(`\r`)
		case c < 0x80:
			fmt.Fprintf(&b, `\x%02x`, c)
		case c <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			fmt.Fprintf(&b, `\U%08x`, c)
		}
		i += size
	}
	return b.String()
}

func unprintable(c rune) bool { return c != '\n' && c != '\t' && !unicode.IsPrint(c) }

// oneLine is printable text with every run of white space as one blank.
func oneLine(s string) string { return strings.Join(strings.Fields(printable(s)), " ") }

// alignedLines are rows of cells as lines with aligned columns, moved in by two blanks and without blanks at their ends.
func alignedLines(rows [][]string) (lines []string) {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(t, "  %s\n", strings.Join(row, "\t"))
	}
	_ = t.Flush() // into memory
	for line := range strings.Lines(b.String()) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return lines
}

// shortDuration rounds a time to what a person wants to read of it.
func shortDuration(d time.Duration) string {
	switch {
	case d >= time.Minute:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(100 * time.Microsecond)
	default:
		d = d.Round(time.Microsecond)
	}
	return d.String()
}
