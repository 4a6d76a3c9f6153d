package reports

import (
	"path/filepath"
	"slices"
)

// PerCluster returns one report for each of the report's clusters, without what is said of the run as a whole (NotRun and
// Notices). Evidence in a folder of the cluster's name is named relative to that folder.
func (r *Report) PerCluster() []*Report {
	var all []*Report
	for _, c := range r.Clusters {
		single := *r
		c.Results = slices.Clone(c.Results)
		for i := range c.Results {
			f := c.Results[i].Failure
			if f == nil || f.Evidence == "" {
				continue
			}
			if path, err := filepath.Rel(c.Name, f.Evidence); err == nil && filepath.IsLocal(path) {
				inFolder := *f
				inFolder.Evidence = path
				c.Results[i].Failure = &inFolder
			}
		}
		if single.Interrupted == "" {
			single.Interrupted = c.Interrupted
		}
		single.Clusters, single.NotRun, single.Notices = []Cluster{c}, nil, nil
		all = append(all, &single)
	}
	return all
}
