package reports

import (
	"path/filepath"
	"slices"
)

// Apart are the report's clusters, each in a report of its own. Where evidence lies in a folder of a cluster's name, a
// report in that folder names it from there.
func (r *Report) Apart() []*Report {
	var all []*Report
	for _, c := range r.Clusters {
		one := *r
		c.Results = slices.Clone(c.Results)
		for i := range c.Results {
			f := c.Results[i].Failure
			if f == nil || f.Evidence == "" {
				continue
			}
			if path, err := filepath.Rel(c.Name, f.Evidence); err == nil && filepath.IsLocal(path) {
				told := *f
				told.Evidence = path
				c.Results[i].Failure = &told
			}
		}
		if one.Interrupted == "" {
			one.Interrupted = c.Interrupted
		}
		one.Clusters, one.NotRun, one.Notices = []Cluster{c}, nil, nil
		all = append(all, &one)
	}
	return all
}
