package axis

import (
	"slices"
	"strings"
)

// Group are columns that are judged on one cluster: they differ in shared axes alone.
type Group []Column

// Groups are the columns by their cluster, in the order of each cluster's first column.
func Groups(columns []Column) (groups []Group) {
	for _, c := range columns {
		i := slices.IndexFunc(groups, func(g Group) bool { return g[0].sameCluster(c) })
		if i < 0 {
			groups = append(groups, Group{c})
			continue
		}
		groups[i] = append(groups[i], c)
	}
	return groups
}

// sameCluster says whether the columns have the same value of each axis that is not shared, and both one of the shared or
// neither: their flags can be put together then.
func (c Column) sameCluster(other Column) bool {
	for i, a := range c.axes {
		same := c.chosen[i] == other.chosen[i]
		if a.Shared {
			same = (c.chosen[i] == "") == (other.chosen[i] == "")
		}
		if !same {
			return false
		}
	}
	return true
}

// Name is that of the column, or the names of several with a comma between.
func (g Group) Name() string {
	var names []string
	for _, c := range g {
		names = append(names, c.Name())
	}
	return strings.Join(names, ",")
}

// Flags are the values of the flags that the run of the group is started with: of each flag those of its columns, with
// commas between.
func (g Group) Flags() map[string]string {
	flags := map[string]string{}
	seen := map[string][]string{}
	for _, c := range g {
		for name, value := range c.Flags() {
			if !slices.Contains(seen[name], value) {
				seen[name] = append(seen[name], value)
			}
			flags[name] = strings.Join(seen[name], ",")
		}
	}
	return flags
}
