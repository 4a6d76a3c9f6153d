package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// writeDiagnosis writes a diagnosis for a person. Why no run can be made is left to the command's error.
func writeDiagnosis(out io.Writer, d diagnosis) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows := func(head string, lines ...string) {
		for i, line := range lines {
			if i > 0 {
				head = ""
			}
			fmt.Fprintf(w, "%s\t%s\n", head, line)
		}
	}
	if d.Possible {
		rows("a run", "could be made on this host")
	} else {
		rows("a run", "can't be made on this host")
	}
	switch {
	case d.Engine.Use != "":
		rows("engine", d.Engine.Use)
	case d.Engine.Install != "":
		rows("engine", "none answers; a run would install "+d.Engine.Install)
	default:
		rows("engine", "none answers")
	}
	for i, a := range d.Engine.Attempts {
		rows(fmt.Sprintf("  tried, %d", i+1), a.Engine+": "+strings.ReplaceAll(a.Result, "\n", "; "))
	}
	if d.NodeImage != nil {
		rows("node image", choiceText(*d.NodeImage))
	} else {
		rows("node image", "not told")
	}
	for _, a := range d.Axes {
		rows(a.Line.Label, tellOptions(a.Options)...)
	}
	gaps := []string{}
	for _, g := range d.KernelGaps {
		gaps = append(gaps, fmt.Sprintf("%s (for %s): %s", g.Name, g.For, g.Error))
	}
	if len(gaps) == 0 {
		gaps = []string{"none found"}
	}
	rows("kernel gaps", gaps...)
	if len(d.Untried) > 0 {
		rows("not tried", strings.Join(d.Untried, ", ")+": run this as root")
	}
	rows("notes", d.Notes...)
	h := d.Host
	kernel := strings.TrimSpace(h.OS + " " + h.Kernel + " " + h.Architecture)
	if h.CgroupVersion > 0 {
		kernel += fmt.Sprintf(", cgroup v%d", h.CgroupVersion)
	}
	rows("host", kernel, fmt.Sprintf("%d cores, %s of %s memory free, %s of disk free for the engine",
		h.CPUs, size(h.MemoryFreeBytes), size(h.MemoryBytes), size(h.DiskFreeBytes)))
	if len(h.MissingCapabilities) > 0 {
		rows("", "lacks "+strings.Join(h.MissingCapabilities, ", "))
	}
	return w.Flush()
}

// tellOptions is a line for each value of an axis.
func tellOptions(all []option) []string {
	var lines []string
	for _, o := range all {
		state := "possible"
		switch {
		case o.Use:
			state = "used"
		case !o.There:
			state = "not possible"
		}
		if o.Why != "" {
			state += ": " + o.Why
		}
		lines = append(lines, o.Name+" ("+state+")")
	}
	return lines
}
