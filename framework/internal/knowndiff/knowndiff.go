package knowndiff

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/reports"
)

// lists has a file for each runtime, OCI handler or family that is known to differ, in the form of the flag -known and named by where
// its differences are.
//
//go:embed lists
var lists embed.FS

// In returns the known differences that Parley ships for the report's clusters.
func In(r *reports.Report) ([]reports.Known, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(k reports.Known) bool {
		return !slices.ContainsFunc(r.Clusters, func(c reports.Cluster) bool { return k.On(&c) })
	}), nil
}

// All returns the known differences that Parley ships, for every runtime, handler and family.
func All() ([]reports.Known, error) {
	names, err := fs.Glob(lists, "lists/*.yaml")
	if err != nil {
		return nil, err
	}
	var all []reports.Known
	for _, name := range names {
		text, err := lists.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading the known differences: %w", err)
		}
		list, err := reports.ReadKnown(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("of %s: %w", strings.TrimPrefix(name, "lists/"), err)
		}
		all = append(all, list...)
	}
	return all, nil
}
