package axis

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// Axis is one way in which clusters differ.
type Axis struct {
	Name string // in a report: "proxy mode"
	// Flag takes the axis's values, separated by commas, and one value in the run of a column.
	Flag string
	// Chooses is what the flag chooses, for its help: "mode of kube-proxy in a cluster that is made".
	Chooses string
	// Set is the word that stands for all of the axis's values.
	Set string
	// Values are in the order in which Set stands for them; the first is what a cluster has that is asked for none.
	Values []Value
	// Shared says that clusters do not differ in it: columns that differ in nothing else are judged on one and the same. One
	// axis at most is shared, since a group's flags name each value of theirs once.
	Shared bool
	// Apply has the specification of a cluster say that it has the value, in the form that the flag takes.
	Apply func(s *Spec, given string)
	// Settings are further flags, which say how the axis's values are had.
	Settings []Setting
	// Existing is what the axis is of a cluster that exists; nil where it is of clusters that Parley makes alone.
	Existing *Existing
	Doctor   DoctorLine
}

// Value is one value of an axis.
type Value struct {
	// Word names it. No other value of any axis and no set has the same, so that the word alone is enough.
	Word string
	// Short is what the axis's own flag takes for it as well, where the word repeats what the flag says: "1.35" for
	// kubernetes-1.35. It need not be unique among the axes.
	Short string
	// Lacks says why it can't be had on this host, or "" where it can; nil is a value that every host has.
	Lacks func(Host) string
	// Probe is Lacks for what is not seen of the host but must be looked for, with the settings of s. Addresses outside this
	// machine are asked only where outside says so; without, the answer may be that it was not looked for. nil needs no look.
	Probe func(ctx context.Context, s Spec, outside bool) string
	// Conflicts says why it can't be had together with the other values of a cluster, whose specification it is given, or ""
	// where it can; nil is a value that goes with all.
	Conflicts func(Spec) string
}

// Setting is a flag that says how an axis's values are had, and not which: it has no values of its own.
type Setting struct {
	Flag, Help string
	// Apply puts into a specification what the flag was given.
	Apply func(s *Spec, given string)
}

// Existing is what an axis is of a cluster that exists: its flag names what is there already.
type Existing struct {
	Takes string // what the flag takes there, for its help: "the name of a RuntimeClass"
	// Values are the axis's values there, one for each of the names, or why one is no such name.
	Values func(names []string) ([]Value, error)
}

// DoctorLine is how `parley doctor` shows the axis.
type DoctorLine struct {
	Key   string // the member of the JSON output, which is an array
	Label string // in the text
	// First has it stand before the axes that do not say so.
	First bool
	// InImage is for values that a node image has or has not: which of them a run uses, in the form that the flag takes, of the
	// clusters that it would make with an image of these versions; "" where that is none. nil is an axis whose values are
	// used as asked for.
	InImage func(image nodeimage.Versions, clusters []Spec) string
}

// All are the axes, in the order in which a column's name has their values.
func All() []Axis {
	return []Axis{Family(), ProxyMode(), Kubernetes(), Containerd(), Runtime(), Handler()}
}

// Given is what the axis's own flag is given for the value.
func (v Value) Given() string { return cmp.Or(v.Short, v.Word) }

// Unavailable says why the value can't be had on the host, as far as known; "" where it can.
func (v Value) Unavailable(h Host) string {
	if why := h.Unavailable[v.Word]; why != "" || v.Lacks == nil {
		return why
	}
	return v.Lacks(h)
}

// Help is the help of the axis's flag.
func (a Axis) Help() string {
	text := a.Chooses + ": " + or(a.given())
	if a.Existing != nil {
		text += " on a cluster that is made, " + a.Existing.Takes + " on one of yours"
	}
	if a.Shared {
		return text + "; several, separated by commas, are judged one after the other on the same cluster"
	}
	return text + "; of several, separated by commas, each gets a cluster"
}

// Words are the words of the axis's values.
func (a Axis) Words() (words []string) {
	for _, v := range a.Values {
		words = append(words, v.Word)
	}
	return words
}

// OfFlag is the value that the axis's own flag means by what it is given.
func (a Axis) OfFlag(given string) (Value, bool) {
	i := slices.IndexFunc(a.Values, func(v Value) bool { return v.Word == given || v.Short != "" && v.Short == given })
	if i < 0 {
		return Value{}, false
	}
	return a.Values[i], true
}

// given are what the axis's own flag is given for its values.
func (a Axis) given() (all []string) {
	for _, v := range a.Values {
		all = append(all, v.Given())
	}
	return all
}

func (a Axis) value(word string) (Value, bool) {
	i := slices.IndexFunc(a.Values, func(v Value) bool { return v.Word == word })
	if i < 0 {
		return Value{}, false
	}
	return a.Values[i], true
}

// Sets names the sets of the axes, for the help of -matrix.
func Sets(axes []Axis) string {
	var sets []string
	for _, a := range axes {
		sets = append(sets, a.Set)
	}
	return and(sets)
}

// OfMadeClusters are the flags of the axes that are only for clusters that Parley makes.
func OfMadeClusters(axes []Axis) (flags []string) {
	for _, a := range axes {
		if a.Existing != nil {
			continue
		}
		flags = append(flags, a.Flag)
		for _, s := range a.Settings {
			flags = append(flags, s.Flag)
		}
	}
	return flags
}

func and(words []string) string { return list(words, " and ") }

func or(words []string) string { return list(words, " or ") }

// list joins words by commas, and the last by its own conjunction.
func list(words []string, conjunction string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + conjunction + words[last]
}

func plural(name string) string { return strings.TrimSuffix(name, "s") + "s" }
