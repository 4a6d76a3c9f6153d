package axis

import (
	"context"
	"flag"
	"fmt"
	"slices"
)

// Choices are what a user gave the flags of axes. nil is of all axes, with nothing given.
type Choices struct {
	axes  []Axis
	given map[string]*string // by flag: those of the axes and of their settings
}

// Choose are choices by what each flag is given.
func Choose(axes []Axis, given map[string]string) *Choices {
	c := &Choices{axes: axes, given: map[string]*string{}}
	for _, a := range axes {
		c.set(a.Flag, given[a.Flag])
		for _, s := range a.Settings {
			c.set(s.Flag, given[s.Flag])
		}
	}
	return c
}

func (c *Choices) set(flag, value string) { c.given[flag] = &value }

// Register declares the flags of the axes and of their settings. The choices are what the flags are given when they are parsed.
func Register(fs *flag.FlagSet, axes []Axis) *Choices {
	c := Choose(axes, nil)
	for _, a := range axes {
		fs.StringVar(c.given[a.Flag], a.Flag, "", a.Help())
		for _, s := range a.Settings {
			fs.StringVar(c.given[s.Flag], s.Flag, "", s.Help)
		}
	}
	return c
}

// Axes are those that are chosen from.
func (c *Choices) Axes() []Axis {
	if c == nil {
		return All()
	}
	return c.axes
}

// Asked are the values that the axis's own flag was given, as they were written.
func (c *Choices) Asked(a Axis) []string { return fieldsOf(c.givenTo(a.Flag)) }

func (c *Choices) givenTo(flag string) string {
	if c == nil || c.given[flag] == nil {
		return ""
	}
	return *c.given[flag]
}

// settings are what the flags say that choose no values.
func (c *Choices) settings() (s Spec) {
	for _, a := range c.Axes() {
		for _, setting := range a.Settings {
			if given := c.givenTo(setting.Flag); given != "" {
				setting.Apply(&s, given)
			}
		}
	}
	return s
}

// Existing are the same choices of a cluster that exists, where the flags of some axes name what is there.
func (c *Choices) Existing() (*Choices, error) {
	if c == nil {
		return nil, nil
	}
	of := &Choices{axes: slices.Clone(c.axes), given: c.given}
	for i, a := range of.axes {
		names := c.Asked(a)
		if a.Existing == nil || len(names) == 0 {
			continue
		}
		values, err := a.Existing.Values(names)
		if err != nil {
			return nil, err
		}
		of.axes[i].Values = values
	}
	return of, nil
}

// Columns are what a user asks for. Each axis's own flag has values separated by commas; matrix has entries separated by commas
// or blanks, each a word or several joined by '+'. The columns are each entry combined with each value of the flags, in the
// order in which they were written, each once. Without anything asked for there is one, which has no values.
func (c *Choices) Columns(matrix string) ([]Column, error) {
	axes := c.Axes()
	flags, err := c.byFlags()
	if err != nil {
		return nil, err
	}
	entries, err := entriesOf(axes, c.settings(), matrix)
	if err != nil {
		return nil, err
	}
	var all []Column
	for _, e := range entries {
		for i, a := range axes {
			if e.chosen[i] != "" && len(flags[i]) > 0 {
				return nil, fmt.Errorf("-matrix says %s and -%s says %s: name the %s in one of them only", e.chosen[i], a.Flag, c.givenTo(a.Flag), a.Name)
			}
		}
		for _, combined := range e.combinedWith(flags) {
			if all = merge(all, combined); len(all) > maxColumns {
				return nil, fmt.Errorf("these are more than %d clusters: ask for fewer", maxColumns)
			}
		}
	}
	return all, nil
}

// byFlags are for each axis the words that its flag asks for.
func (c *Choices) byFlags() ([][]string, error) {
	axes := c.Axes()
	flags := make([][]string, len(axes))
	for i, a := range axes {
		for _, word := range c.Asked(a) {
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

// Probe looks for the values that only a look tells of, and returns those that can't be had by their words, with why: what a Host
// has as Unavailable. Addresses outside this machine are asked only for values that one of the columns has.
func (c *Choices) Probe(ctx context.Context, columns []Column) map[string]string {
	unavailable := map[string]string{}
	for i, a := range c.Axes() {
		for _, v := range a.Values {
			if v.Probe == nil {
				continue
			}
			asked := slices.ContainsFunc(columns, func(c Column) bool { return c.chosen[i] == v.Word })
			if why := v.Probe(ctx, c.settings(), asked); why != "" {
				unavailable[v.Word] = why
			}
		}
	}
	return unavailable
}
