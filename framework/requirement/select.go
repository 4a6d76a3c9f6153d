package requirement

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Selection chooses requirements: by ID, by chapter, or by pattern (path.Match). An empty one chooses all.
type Selection []string

// ParseSelection reads names and patterns separated by commas. One that is no pattern, or that none of all
// matches, is an error.
func ParseSelection(list string, all []Requirement) (Selection, error) {
	var s Selection
	for pattern := range strings.SplitSeq(list, ",") {
		if pattern = strings.TrimSpace(pattern); pattern == "" {
			continue
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("%q is not a pattern: %w", pattern, err)
		}
		if !slices.ContainsFunc(all, func(r Requirement) bool { return matches(pattern, r.ID) }) {
			return nil, fmt.Errorf("%q names no requirement; `parley list` shows them all", pattern)
		}
		s = append(s, pattern)
	}
	return s, nil
}

// Has says whether the ID is chosen.
func (s Selection) Has(id string) bool {
	return len(s) == 0 || slices.ContainsFunc(s, func(p string) bool { return matches(p, id) })
}

// Names says whether the ID itself is in the selection, rather than a pattern that matches it.
func (s Selection) Names(id string) bool { return slices.Contains(s, id) }

// matches a pattern against an ID; a pattern without a slash is a chapter.
func matches(pattern, id string) bool {
	if !strings.Contains(pattern, "/") {
		id, _, _ = strings.Cut(id, "/")
	}
	ok, err := path.Match(pattern, id)
	return err == nil && ok
}
