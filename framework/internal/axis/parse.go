package axis

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// maxColumns is how many clusters a matrix may ask for: more is a slip, and would take a day.
const maxColumns = 64

// entriesOf are the columns that a matrix names; one without values where it names none.
func entriesOf(axes []Axis, settings Spec, matrix string) ([]Column, error) {
	none := Column{axes: axes, settings: settings, chosen: make([]string, len(axes)), ByName: true}
	items := fieldsOf(matrix)
	if len(items) == 0 {
		return []Column{none}, nil
	}
	var entries []Column
	for _, item := range items {
		of, err := none.entry(item)
		if err != nil {
			return nil, fmt.Errorf("-matrix %s: %w", item, err)
		}
		entries = append(entries, of...)
	}
	return entries, nil
}

// entry reads one entry of a matrix onto a column without values: words joined by '+', of which each that names a set stands for
// all its values.
func (c Column) entry(item string) ([]Column, error) {
	axes, all := c.axes, []Column{c}
	for word := range strings.SplitSeq(item, "+") {
		i := slices.IndexFunc(axes, func(a Axis) bool { _, ok := a.value(word); return ok })
		words, byName := []string{word}, true
		if i < 0 {
			if i = slices.IndexFunc(axes, func(a Axis) bool { return a.Set == word }); i < 0 {
				return nil, fmt.Errorf("%q is no value of an axis: there are %s", word, everyWord(axes))
			}
			words, byName = axes[i].Words(), false
		}
		if all[0].chosen[i] != "" {
			return nil, fmt.Errorf("a cluster has one of the %s, and this names two", plural(axes[i].Name))
		}
		all = product(all, i, words, byName)
	}
	return all, nil
}

// combinedWith combines a column combinedWith each value of the flags.
func (c Column) combinedWith(flags [][]string) []Column {
	all := []Column{c}
	for i, words := range flags {
		if len(words) > 0 {
			all = product(all, i, words, true)
		}
	}
	return all
}

// product are the columns, each with each of the values of one axis.
func product(columns []Column, axis int, words []string, byName bool) (all []Column) {
	for _, c := range columns {
		for _, word := range words {
			made := c
			made.chosen, made.ByName = slices.Clone(c.chosen), c.ByName && byName
			made.chosen[axis] = word
			all = append(all, made)
		}
	}
	return all
}

// merge adds a column unless it is there; asked for by name once is asked for by name.
func merge(all []Column, c Column) []Column {
	i := slices.IndexFunc(all, func(other Column) bool { return slices.Equal(other.chosen, c.chosen) })
	if i < 0 {
		return append(all, c)
	}
	all[i].ByName = all[i].ByName || c.ByName
	return all
}

// everyWord tells all words of all axes.
func everyWord(axes []Axis) string {
	var parts []string
	for _, a := range axes {
		parts = append(parts, strings.Join(a.Words(), ", ")+" ("+a.Set+": all of these)")
	}
	return strings.Join(parts, "; ")
}

func fieldsOf(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' || unicode.IsSpace(c) })
}
