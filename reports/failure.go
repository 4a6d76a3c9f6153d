package reports

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Failure is an observation that contradicts a requirement, with both ends of the communication.
type Failure struct {
	Requirement string `json:"requirement"`
	// From and To are the two ends, in words with their addresses: "client (node worker, 10.244.1.5)".
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Protocol is what was spoken, with the family where there is one: "TCP over IPv4", "SysV message queue".
	Protocol string `json:"protocol,omitempty"`
	// Expected and Observed complete "expected …" and "last observed …".
	Expected string `json:"expected,omitempty"`
	Observed string `json:"observed,omitempty"`
	// Attempts is how often it was tried within the time Took.
	Attempts int           `json:"attempts,omitempty"`
	Took     time.Duration `json:"took,omitzero"`
	// Final is why it is not tried again, where it is not: "what arrives changed is never the machine's doing".
	Final string `json:"final,omitempty"`
	// Nodes says on which nodes it fails and on which not, where it is judged on each: "on worker2, not on worker".
	Nodes string `json:"nodes,omitempty"`
	// FirstBrokenHop is the nearest hop that does not work: loopback, own pod IP, pod on the same node, pod on
	// another node, endpoint, ClusterIP, NodePort or DNS.
	FirstBrokenHop string `json:"firstBrokenHop,omitempty"`
	// Cause is what breaks it, as the diagnosis found it, in one sentence that is the same for each requirement that it breaks: "worker2:
	// the policy drop of ...". "" where none was found.
	Cause string `json:"cause,omitempty"`
	// Again is a command that shows the failure by hand.
	Again string `json:"again,omitempty"`
	// Evidence is the folder with the evidence that was gathered, relative to the report's folder.
	Evidence string `json:"evidence,omitempty"`
}

// Sentence is the failure in one line, with both ends; empty fields are left out.
func (f Failure) Sentence() string {
	var parts []string
	for _, p := range []struct{ before, value string }{{"from ", f.From}, {"to ", f.To}, {"by ", f.Protocol}} {
		if p.value != "" {
			parts = append(parts, p.before+oneLine(p.value))
		}
	}
	where := strings.Join(parts, " ")

	parts = parts[:0]
	if f.Expected != "" {
		parts = append(parts, "expected "+oneLine(f.Expected))
	}
	if f.Observed != "" {
		parts = append(parts, "observed "+oneLine(f.Observed))
	}
	what := strings.Join(parts, ", ")
	if tries := f.tries(); tries != "" && what != "" {
		what += " (" + tries + ")"
	}
	if f.FirstBrokenHop != "" {
		if what != "" {
			what += "; "
		}
		what += "first broken hop: " + oneLine(f.FirstBrokenHop)
	}
	if f.Nodes != "" {
		what = strings.TrimPrefix(what+"; "+oneLine(f.Nodes), "; ")
	}
	switch {
	case what == "" && where == "":
		return "it does not hold, and no observation was recorded"
	case what == "":
		return where + ": it does not hold"
	case where == "":
		return what
	}
	return where + ": " + what
}

// tries is "3 attempts in 1.5s", and why there is no further one where it is known; "" where nothing is.
func (f Failure) tries() string {
	var s string
	switch {
	case f.Attempts == 1:
		s = "1 attempt"
	case f.Attempts > 1:
		s = fmt.Sprintf("%d attempts", f.Attempts)
	}
	if f.Took > 0 {
		s = strings.TrimSpace(s + " in " + shortDuration(f.Took))
	}
	if f.Final != "" {
		s = strings.TrimPrefix(s+"; not tried again: "+oneLine(f.Final), "; ")
	}
	return s
}

// blockLabelWidth leaves two blanks after the longest label of a block.
const blockLabelWidth = len("attempts and time:") + 2

// Block is the failure as lines of text: every field with its label, always in the same order, then the folder of the
// evidence where there is one. Further lines of a value are aligned with its first. The last line has no line feed.
func (f Failure) Block() string {
	fields := []struct{ label, value string }{
		{"requirement:", f.Requirement},
		{"from:", f.From},
		{"to:", f.To},
		{"protocol:", f.Protocol},
		{"expected:", f.Expected},
		{"last observed:", f.Observed},
		{"attempts and time:", f.tries()},
		{"first broken hop:", f.FirstBrokenHop},
		{"see it again:", f.Again},
	}
	if f.Nodes != "" {
		fields = slices.Insert(fields, 4, struct{ label, value string }{"fails:", f.Nodes})
	}
	if f.Evidence != "" {
		fields = append(fields, struct{ label, value string }{"evidence:", f.Evidence})
	}
	var b strings.Builder
	for i, field := range fields {
		value := strings.Trim(printable(field.value), "\n")
		if strings.TrimSpace(value) == "" {
			value = "not recorded"
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%-*s%s", blockLabelWidth, field.label, indent(value, blockLabelWidth))
	}
	return b.String()
}

// indent moves every line but the first by n blanks.
func indent(s string, n int) string {
	return strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n))
}
