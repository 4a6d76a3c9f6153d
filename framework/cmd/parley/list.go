package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/parley-k8s/parley/framework/requirement"
)

// entry is a requirement as `parley list -o json` prints it. The form is read by others: fields are added,
// never changed.
type entry struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Level    string   `json:"level"` // MUST, SHOULD or OPTIONAL
	Chapter  string   `json:"chapter"`
	Clause   clause   `json:"clause"`
	Features []string `json:"features"` // what the cluster must have, or the row is unsupported; never null
	Control  control  `json:"control"`
	// MoreControls are those of a requirement that is proved by several; absent where Control is the only one.
	MoreControls []control `json:"moreControls,omitempty"`
}

type clause struct {
	URL  string `json:"url"`
	Says string `json:"says"`
}

// control is the smallest change that must turn the requirement red.
type control struct {
	Kind   string   `json:"kind"` // variant or fault
	Says   string   `json:"says"`
	Red    []string `json:"red"`    // the reasons, any of which it must fail for
	Points []string `json:"points"` // where a fault is injected, in the order in which it is tried; empty for a variant
	Alone  bool     `json:"alone"`  // nothing else runs beside it
}

func entryOf(r requirement.Requirement) entry {
	e := entry{
		ID: r.ID, Title: r.Title, Level: string(r.Level), Chapter: r.Chapter(),
		Clause: clause(r.Clause), Features: words(r.Needs),
		Control: controlOf(r.Control),
	}
	for _, c := range r.MoreControls {
		e.MoreControls = append(e.MoreControls, controlOf(c))
	}
	return e
}

func controlOf(c requirement.Control) control {
	of := control{Kind: c.Kind(), Says: c.Says, Red: words(c.Red), Points: []string{}, Alone: c.Alone}
	if c.Fault != nil {
		for _, p := range c.Fault.Points {
			of.Points = append(of.Points, p.Where)
		}
	}
	return of
}

// words are values as strings, an empty list where there are none.
func words[T ~string](values []T) []string {
	all := []string{}
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}

func newList(chapters []requirement.Chapter) *cobra.Command {
	all := requirement.AllOf(chapters)
	cmd := &cobra.Command{
		Use:   "list [PATTERN...]",
		Short: "List the requirements",
		Long: "List the requirements that a run judges: all, or those that the patterns name, as in -select of a run.\n" +
			"A pattern is an ID (pod/own-ip), a chapter (pod) or has wildcards ('dns/*', '*/*-udp').\n\n" +
			"The chapters:\n" + tellChapters(chapters),
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: complete(all),
	}
	form := outputFlag(cmd, "table", "wide", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := form()
		if err != nil {
			return err
		}
		chosen, err := requirement.ParseSelection(strings.Join(args, ","), all)
		if err != nil {
			return err
		}
		entries := []entry{}
		for _, r := range all {
			if chosen.Has(r.ID) {
				entries = append(entries, entryOf(r))
			}
		}
		if form == "json" {
			return writeJSON(cmd.OutOrStdout(), entries)
		}
		return writeTable(cmd.OutOrStdout(), entries, form == "wide")
	}
	return cmd
}

// tellChapters says what each chapter is about, a line each.
func tellChapters(chapters []requirement.Chapter) string {
	width := 0
	for _, c := range chapters {
		width = max(width, len(c.Name))
	}
	var lines []string
	for _, c := range chapters {
		lines = append(lines, fmt.Sprintf("  %-*s  %s", width, c.Name, c.Says))
	}
	return strings.Join(lines, "\n")
}

func writeTable(out io.Writer, entries []entry, wide bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	heads := []string{"ID", "LEVEL"}
	if wide {
		heads = append(heads, "FEATURES", "CONTROL", "CLAUSE")
	}
	fmt.Fprintln(w, strings.Join(append(heads, "TITLE"), "\t"))
	for _, e := range entries {
		cells := []string{e.ID, e.Level}
		if wide {
			features := "-"
			if len(e.Features) > 0 {
				features = strings.Join(e.Features, ",")
			}
			cells = append(cells, features, tellControls(e), e.Clause.URL)
		}
		fmt.Fprintln(w, strings.Join(append(cells, e.Title), "\t"))
	}
	return w.Flush()
}

// tellControls says what each control of the requirement changes.
func tellControls(e entry) string {
	all := e.Control.Kind + ": " + e.Control.Says
	for _, c := range e.MoreControls {
		all += "; " + c.Kind + ": " + c.Says
	}
	return all
}

// complete offers IDs to the shell.
func complete(all []requirement.Requirement) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var ids []cobra.Completion
		for _, r := range all {
			ids = append(ids, cobra.CompletionWithDesc(r.ID, r.Title))
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
