package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// width is how long a line of the README's examples may be.
const width = 100

// The verdicts that are shown of a run: the first few and the last.
const firstVerdicts = 3

// gap stands for lines that are left out.
const gap = "   ..."

var (
	// verdictLine is a line of the progress that counts: "  60.0s    1 of 273 passed      pod/own-ip (2.7s)".
	verdictLine = regexp.MustCompile(`^ *[0-9.]+s +[0-9]+ of [0-9]+ `)
	// progressLine is any other line of the progress: "   0.3s  engine: podman 4.3.1".
	progressLine = regexp.MustCompile(`^ *[0-9.]+s  \S`)
	// stepLine is a step that is left out: one of kind's, or of building what is cached from then on (a component of the node image,
	// or what nodes get besides).
	stepLine = regexp.MustCompile(`^ *[0-9.]+s  (cluster: kind: |node image: [0-9]+ of [0-9]+,|.* \.\.\.$|.*: cached$)`)
	// chapterLine is a chapter's line of the summary: "  pod  31 passed of 34  3 unsupported".
	chapterLine = regexp.MustCompile(`^  \S+ +[0-9]+ passed of [0-9]+`)
	// closingLine is the last of the summary: "263 passed of 273, 10 unsupported, 4 skipped; took 6m20s".
	closingLine = regexp.MustCompile(`^[0-9]+ passed of [0-9]+`)
)

// shortenRun cuts what a run shows to what a reader wants to see of it: the steps but those of kind and of building what is
// cached from then on, the first three verdicts and the last one, and of the summary the chapters and the closing line.
func shortenRun(output string) (string, error) {
	var kept, held []string // held are verdicts that are shown only where none follows
	n, closed := 0, false
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, " \n")
		switch {
		case verdictLine.MatchString(line):
			if n++; n <= firstVerdicts {
				kept = append(kept, line)
				continue
			}
			held = append(held, line)
		case stepLine.MatchString(line):
		case progressLine.MatchString(line), chapterLine.MatchString(line), closingLine.MatchString(line):
			kept = append(append(kept, release(held)...), line)
			held, closed = nil, closed || closingLine.MatchString(line)
		}
	}
	if n == 0 || !closed {
		return "", fmt.Errorf("the output is not that of a run that came to its end: it has %d verdicts, and closing line: %t", n, closed)
	}
	return strings.Join(kept, "\n"), nil
}

// release is what is shown of verdicts that were held back: the last one, after a gap.
func release(held []string) []string {
	switch len(held) {
	case 0, 1:
		return held
	}
	return []string{gap, held[len(held)-1]}
}

// block is the failure block of the requirement in a run's output.
func block(output, id string) (string, error) {
	var kept []string
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, " \n")
		switch {
		case len(kept) == 0 && !strings.HasPrefix(line, "FAILED "+id+" "):
		case line == "":
			return strings.Join(kept, "\n"), nil
		default:
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		return "", fmt.Errorf("the output has no failure block of %s", id)
	}
	return strings.Join(kept, "\n"), nil
}

// label is what stands before the value of a line of a failure block, or before the text of the progress.
var label = regexp.MustCompile(`^(  [a-z][a-z ]*:  +| *[0-9.]+s  )`)

// fold breaks each line that is longer than width between two words, and sets what follows under the text that it belongs to.
func fold(text string) string {
	var all []string
	for line := range strings.Lines(text) {
		all = append(all, foldLine(strings.TrimRight(line, "\n"))...)
	}
	return strings.Join(all, "\n")
}

func foldLine(line string) (all []string) {
	indent := strings.Repeat(" ", max(4, len(label.FindString(line))))
	for utf8.RuneCountInString(line) > width {
		at := strings.LastIndex(string([]rune(line)[:width+1]), " ")
		if at <= len(indent) {
			break // a word as long as the line stays whole
		}
		all = append(all, line[:at])
		line = indent + line[at+1:]
	}
	return append(all, line)
}

// lookup is what a failed look-up of a name says of the resolver that was asked: "lookup NAME on 192.0.2.53:53: ".
var lookup = regexp.MustCompile(`\blookup \S+ on \S+: `)

// hideLookups takes the names that this machine looks up, and its resolver, out of the text; what came of it stays.
func hideLookups(text string) string { return lookup.ReplaceAllString(text, "") }

// hidePaths takes this machine's own folders out of the text: each becomes what it is given as.
func hidePaths(text string, folders map[string]string) string {
	var names []string
	for name := range folders {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) }) // the deepest first
	for _, name := range names {
		text = strings.ReplaceAll(text, name, folders[name])
	}
	return text
}

// begin and end are the markers of a part of the README, as comments that nobody sees.
func begin(part string) string { return "<!-- make readme: " + part + " -->" }
func end(part string) string   { return "<!-- end of " + part + " -->" }

// replaceBetween replaces what stands between the markers of a part.
func replaceBetween(document, part, text string) (string, error) {
	before, rest, ok := strings.Cut(document, begin(part)+"\n")
	if !ok {
		return "", fmt.Errorf("the document has no line %q", begin(part))
	}
	_, after, ok := strings.Cut(rest, end(part))
	if !ok {
		return "", fmt.Errorf("the document has no %q after %q", end(part), begin(part))
	}
	return before + begin(part) + "\n" + strings.TrimRight(text, "\n") + "\n" + end(part) + after, nil
}

// console is text as a block of the README.
func console(text string) string { return "```console\n" + text + "\n```" }
