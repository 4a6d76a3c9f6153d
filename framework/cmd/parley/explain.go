package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parley-k8s/parley/framework/requirement"
)

func newExplain(chapters []requirement.Chapter) *cobra.Command {
	all := requirement.AllOf(chapters)
	return &cobra.Command{
		Use:               "explain ID",
		Short:             "Explain a requirement: what must hold, who says so, why, and how the check is proved",
		Args:              between(1, 1, "the ID of one requirement"),
		ValidArgsFunction: complete(all),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, c := range chapters {
				for _, r := range c.Requirements {
					if r.ID == args[0] {
						return explain(cmd.OutOrStdout(), c, r)
					}
				}
			}
			return fmt.Errorf("no requirement has the ID %q%s; `parley list` shows them all", args[0], meant(args[0], all))
		},
	}
}

// meant are IDs that have the text as a part.
func meant(text string, all []requirement.Requirement) string {
	var near []string
	for _, r := range all {
		if text != "" && strings.Contains(r.ID, text) {
			near = append(near, r.ID)
		}
	}
	if len(near) == 0 || len(near) > 5 {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", strings.Join(near, " or "))
}

// meaning says what a level does to a run.
var meaning = map[requirement.Level]string{
	requirement.Must:     "a failure fails the run",
	requirement.Should:   "a failure is a warning, and fails the run with -strict",
	requirement.Optional: "judged only where the cluster shows the feature",
}

// explain writes a requirement of the chapter for a person.
func explain(out io.Writer, chapter requirement.Chapter, r requirement.Requirement) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n\n", r.ID, wrap(r.Title, ""))
	part := func(head, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-10s%s\n", head, strings.TrimLeft(wrap(text, strings.Repeat(" ", 10)), " "))
		}
	}
	part("Level", fmt.Sprintf("%s: %s", r.Level, meaning[r.Level]))
	part("Chapter", chapter.Name+": "+chapter.Says)
	part("Clause", r.Clause.Says)
	part("", r.Clause.URL)
	part("Why", r.Why)
	part("Roles", strings.Join(words(r.Roles), ", "))
	part("If there", strings.Join(words(r.Wants), ", "))
	var services []string
	for _, s := range r.Services {
		services = append(services, string(s))
	}
	part("Services", strings.Join(services, ", "))
	part("Needs", strings.Join(words(r.Needs), ", "))
	if r.PodSecurity != "" {
		part("Pods", "at the Pod Security level "+r.PodSecurity)
	}
	var runs []string
	if r.PerNode {
		runs = append(runs, "once from each node that takes ordinary pods")
	}
	if r.OneNode != "" {
		runs = append(runs, "from one node: "+r.OneNode)
	}
	if r.PerFamily {
		runs = append(runs, "once for each address family of the cluster")
	}
	if r.Slow {
		runs = append(runs, "with -slow or by its ID only, since it takes minutes")
	}
	part("Runs", strings.Join(runs, "; "))
	for i, c := range r.Controls() {
		head := "Control"
		if i > 0 {
			head = "and"
		}
		part(head, c.Kind()+": "+c.Says)
		if points := controlOf(c).Points; len(points) > 0 {
			part("", "injected in: "+strings.Join(points, ", else "))
		}
		part("", "must turn it red for: "+strings.Join(words(c.Red), " or "))
		if len(c.Wants) > 0 {
			part("", "where there is: "+strings.Join(words(c.Wants), ", "))
		}
		if c.Alone {
			part("", "nothing else runs beside it")
		}
	}
	part("Run it", "go test ./tests/... -args -prove -select "+r.ID)
	_, err := io.WriteString(out, b.String())
	return err
}

// wrap breaks text into lines of at most 96 columns, each with the indent; longer words stay whole.
func wrap(text, indent string) string {
	const width = 96
	var lines []string
	line := indent
	for _, word := range strings.Fields(text) {
		if line != indent && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}
