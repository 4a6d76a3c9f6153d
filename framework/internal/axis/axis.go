package axis

import (
	"cmp"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// Axis is one way in which clusters differ.
type Axis struct {
	Name string // in a report: "proxy mode"
	// Flag takes the axis's values, separated by commas, and one value in the run of a column.
	Flag string
	// Set is the word that stands for all of the axis's values.
	Set string
	// Values are in the order in which Set stands for them; the first is what a cluster has that is asked for none.
	Values []Value
	// Shared says that clusters do not differ in it: columns that differ in nothing else are judged on one and the same. One
	// axis at most is shared, since a group's flags name each value of theirs once.
	Shared bool
}

// Value is one value of an axis.
type Value struct {
	// Word names it. No other value of any axis and no set has the same, so that the word alone is enough.
	Word string
	// Short is what the axis's own flag takes for it as well, where the word repeats what the flag says: "1.35" for
	// kubernetes-1.35. It need not be unique among the axes.
	Short string
	// Flags are further flags that a run with this value is started with, by name.
	Flags map[string]string
	// Lacks says why it can't be had on this host, or "" where it can; nil is a value that every host has.
	Lacks func(Host) string
	// Apart says why it can't be had together with the column's values of the other axes, which it is given by flag as the
	// flags take them, or "" where it can; nil is a value that goes with all.
	Apart func(others map[string]string) string
}

// Given is what the axis's own flag is given for the value.
func (v Value) Given() string { return cmp.Or(v.Short, v.Word) }

// Host is what is known of the machine that the clusters would be made on.
type Host struct {
	// Lacking are the features that its kernel was seen to lack, by the names that `parley doctor` shows, with how
	// the kernel said so.
	Lacking map[string]string
	// Runtimes are the runtimes that can't be had here, by their words, with why. Only those that were looked for are in it.
	Runtimes map[string]string
	// Architecture is that of the nodes, as Go calls it; "" where it is not known.
	Architecture string
}

// All are the axes, in the order in which a column's name has their values.
func All() []Axis {
	return []Axis{
		{Name: "address families", Flag: "family", Set: "families", Values: []Value{
			{Word: "ipv4"},
			{Word: "ipv6", Lacks: kernel("ipv6 sockets")},
			{Word: "dual", Lacks: kernel("ipv6 sockets")},
		}},
		{Name: "proxy mode", Flag: "proxy-mode", Set: "proxies", Values: []Value{
			{Word: "iptables"},
			{Word: "nftables", Lacks: kernel("nftables")},
			{Word: "ipvs", Lacks: kernel("ipvs", "dummy")},
		}},
		{Name: "Kubernetes version", Flag: "kubernetes", Set: "versions", Values: versions("kubernetes", nodeimage.KubernetesVersions(), nil)},
		{Name: "containerd version", Flag: "containerd", Set: "containerds", Values: versions("containerd", nodeimage.ContainerdVersions(), containerdApart)},
		{Name: "runtime", Flag: "runtime", Set: "runtimes", Values: runtimes()},
		{Name: "OCI handler", Flag: "handler", Set: "handlers", Shared: true, Values: []Value{
			{Word: "runc"},
			{Word: "crun", Apart: handlerApart},
			{Word: "runsc", Lacks: architecture("amd64", "arm64"), Apart: handlerApart},
		}},
	}
}

// architecture is for a value that exists for some architectures alone.
func architecture(known ...string) func(Host) string {
	return func(h Host) string {
		if h.Architecture == "" || slices.Contains(known, h.Architecture) {
			return ""
		}
		return "it exists for " + strings.Join(known, " and ") + ", and the nodes would be " + h.Architecture
	}
}

// containerdApart says why a version of containerd can't be had with the column's other values; "" where it can.
func containerdApart(version string, others map[string]string) string {
	if r := otherRuntime(others); r != "" {
		return "it is a version of containerd, and the nodes' runtime would be " + r
	}
	return nodeimage.Versions{Kubernetes: others["kubernetes"], Containerd: version}.Unsupported()
}

// handlerApart says why an OCI handler that nodes are set up for can't be had with the column's other values; "" where it can.
func handlerApart(others map[string]string) string {
	if r := otherRuntime(others); r != "" {
		return "it is set up in containerd, and the nodes' runtime would be " + r
	}
	return ""
}

// otherRuntime is the column's runtime where that is not containerd; "" where it is.
func otherRuntime(others map[string]string) string {
	if r := others["runtime"]; r != cluster.DefaultRuntime {
		return r
	}
	return ""
}

// versions are the values of an axis of versions of a program. apart is Apart of each; it may be nil.
func versions(of string, all []string, apart func(version string, others map[string]string) string) (values []Value) {
	for _, version := range all {
		v := Value{Word: of + "-" + version, Short: version}
		if apart != nil {
			v.Apart = func(others map[string]string) string { return apart(version, others) }
		}
		values = append(values, v)
	}
	return values
}

// runtimes are the container runtimes of nodes: the first is in every node image, a further one has to be brought.
func runtimes() (values []Value) {
	for _, r := range cluster.Runtimes() {
		v := Value{Word: r.Name}
		if r.Layer != nil {
			v.Lacks = func(h Host) string { return h.Runtimes[r.Name] }
		}
		values = append(values, v)
	}
	return values
}

// kernel is for a value that needs features of the kernel.
func kernel(features ...string) func(Host) string {
	return func(h Host) string {
		for _, f := range features {
			if how, lacks := h.Lacking[f]; lacks {
				return strings.TrimSuffix("this host's kernel shows no "+f+" ("+how+")", " ()")
			}
		}
		return ""
	}
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

// Column is one cluster of a matrix, or one of several runs of the same requirements on one cluster.
type Column struct {
	axes   []Axis
	chosen []string // for each axis the word of its value, "" for none
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

// Flags are the values of the flags that the column's run is started with, by name. The flag of an axis that the column
// says nothing of is there with the empty value.
func (c Column) Flags() map[string]string {
	flags := map[string]string{}
	for i, a := range c.axes {
		flags[a.Flag] = ""
		if v, ok := a.value(c.chosen[i]); ok {
			flags[a.Flag] = v.Given()
			for name, value := range v.Flags {
				flags[name] = value
			}
		}
	}
	return flags
}

// Lacks says why the column's cluster can't be made on the host, or with these values together; "" where nothing is known
// to forbid it.
func (c Column) Lacks(h Host) string {
	for i, a := range c.axes {
		v, ok := a.value(c.chosen[i])
		why := ""
		if ok && v.Lacks != nil {
			why = v.Lacks(h)
		}
		if ok && v.Apart != nil && why == "" {
			why = v.Apart(c.others(i))
		}
		if why != "" {
			return v.Word + ": " + why
		}
	}
	return ""
}

// others are the column's values of all axes but one, by flag as the flags take them.
func (c Column) others(axis int) map[string]string {
	all := map[string]string{}
	for i, a := range c.axes {
		if v, ok := a.value(c.chosen[i]); ok && i != axis {
			all[a.Flag] = v.Given()
		}
	}
	return all
}
