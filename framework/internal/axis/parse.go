package axis

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// maxColumns is how many clusters a matrix may ask for: more is a slip, and would take a day.
const maxColumns = 64

// Columns are what a user asks for. lists are the axes' own flags, by name, each with values separated by commas;
// matrix has entries separated by commas or blanks, each a word or several joined by '+'. The columns are each
// entry combined with each value of the flags, in the order in which they were written, each once. Without anything
// asked for there is one, which has no values.
func Columns(axes []Axis, lists map[string]string, matrix string) ([]Column, error) {
	flags, err := byFlags(axes, lists)
	if err != nil {
		return nil, err
	}
	entries := []Column{{axes: axes, chosen: make([]string, len(axes)), ByName: true}}
	if items := fieldsOf(matrix); len(items) > 0 {
		entries = nil
		for _, item := range items {
			of, err := entry(axes, item)
			if err != nil {
				return nil, fmt.Errorf("-matrix %s: %w", item, err)
			}
			entries = append(entries, of...)
		}
	}
	var all []Column
	for _, e := range entries {
		for i, a := range axes {
			if e.chosen[i] != "" && len(flags[i]) > 0 {
				return nil, fmt.Errorf("-matrix says %s and -%s says %s: name the %s in one of them only", e.chosen[i], a.Flag, lists[a.Flag], a.Name)
			}
		}
		for _, c := range e.with(flags) {
			if all = merge(all, c); len(all) > maxColumns {
				return nil, fmt.Errorf("these are more than %d clusters: ask for fewer", maxColumns)
			}
		}
	}
	return all, nil
}

// byFlags are for each axis the words that its flag asks for.
func byFlags(axes []Axis, lists map[string]string) ([][]string, error) {
	flags := make([][]string, len(axes))
	for i, a := range axes {
		for _, word := range fieldsOf(lists[a.Flag]) {
			v, ok := a.OfFlag(word)
			if !ok {
				return nil, fmt.Errorf("-%s %s: the %s are %s", a.Flag, word, plural(a.Name), and(a.given()))
			}
			if !slices.Contains(flags[i], v.Word) {
				flags[i] = append(flags[i], v.Word)
			}
		}
	}
	return flags, nil
}

// with combines a column with each value of the flags.
func (c Column) with(flags [][]string) []Column {
	all := []Column{c}
	for i, words := range flags {
		if len(words) > 0 {
			all = product(all, i, words, true)
		}
	}
	return all
}

// entry reads one entry of a matrix: words joined by '+', of which each that names a set stands for all its values.
func entry(axes []Axis, item string) ([]Column, error) {
	all := []Column{{axes: axes, chosen: make([]string, len(axes)), ByName: true}}
	for word := range strings.SplitSeq(item, "+") {
		i := slices.IndexFunc(axes, func(a Axis) bool { _, ok := a.value(word); return ok })
		words, byName := []string{word}, true
		if i < 0 {
			if i = slices.IndexFunc(axes, func(a Axis) bool { return a.Set == word }); i < 0 {
				return nil, fmt.Errorf("%q is no value of an axis: there are %s", word, known(axes))
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

func product(columns []Column, axis int, words []string, byName bool) (all []Column) {
	for _, c := range columns {
		for _, word := range words {
			made := Column{axes: c.axes, chosen: slices.Clone(c.chosen), ByName: c.ByName && byName}
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

// known tells all words of all axes.
func known(axes []Axis) string {
	var parts []string
	for _, a := range axes {
		parts = append(parts, strings.Join(a.Words(), ", ")+" ("+a.Set+": all of these)")
	}
	return strings.Join(parts, "; ")
}

func fieldsOf(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' || unicode.IsSpace(c) })
}

func and(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func plural(name string) string { return strings.TrimSuffix(name, "s") + "s" }
