package axis

import (
	"cmp"
	"strings"
)

// Column is one cluster of a matrix, or one of several runs of the same requirements on one cluster.
type Column struct {
	axes     []Axis
	settings Spec     // what the axes' settings say, for every column
	chosen   []string // for each axis the word of its value, "" for none
	// ByName says that every value was asked for by its own word, not by that of a set: it must be had, then.
	ByName bool
}

// Name is the column's values joined by '+', in the order of the axes; "default" where it has none.
func (c Column) Name() string { return cmp.Or(strings.Join(c.Values(), "+"), "default") }

// Values are the words of the column's values.
func (c Column) Values() (words []string) {
	for _, w := range c.chosen {
		if w != "" {
			words = append(words, w)
		}
	}
	return words
}

// Spec is what the column's values decide about its cluster and how it is judged.
func (c Column) Spec() Spec {
	s := c.settings
	for i, a := range c.axes {
		if v, ok := a.value(c.chosen[i]); ok {
			a.Apply(&s, v.Given())
		}
	}
	return s
}

// Flags are the values of the flags that a run of the column alone, as a process of its own, is started with, by name. The flag of
// an axis that the column says nothing of is there with the empty value.
func (c Column) Flags() map[string]string {
	flags := map[string]string{}
	for i, a := range c.axes {
		flags[a.Flag] = ""
		if v, ok := a.value(c.chosen[i]); ok {
			flags[a.Flag] = v.Given()
		}
	}
	return flags
}

// Lacks says why the column's cluster can't be made on the host, or with these values together; "" where nothing is known
// to forbid it.
func (c Column) Lacks(h Host) string {
	spec := c.Spec()
	for i, a := range c.axes {
		v, ok := a.value(c.chosen[i])
		if !ok {
			continue
		}
		why := v.Unavailable(h)
		if why == "" && v.Conflicts != nil {
			why = v.Conflicts(spec)
		}
		if why != "" {
			return v.Word + ": " + why
		}
	}
	return ""
}

// Specs are those of the columns.
func Specs(columns []Column) (all []Spec) {
	for _, c := range columns {
		all = append(all, c.Spec())
	}
	return all
}
