package handler

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/parley-k8s/parley/reports"
)

// known has a file of known differences for each handler that has some, in the form of the flag -known.
//
//go:embed known
var known embed.FS

// Fact is the name of the fact of a cluster in a report that says which handler its pods ran under.
const Fact = "OCI handler"

// KnownIn are the known differences of every handler that one of the report's clusters was judged under.
func KnownIn(r *reports.Report) ([]reports.Known, error) {
	var all []reports.Known
	var seen []string
	for _, c := range r.Clusters {
		for _, f := range c.Facts {
			if f.Name != Fact || slices.Contains(seen, f.Value) {
				continue
			}
			seen = append(seen, f.Value)
			list, err := Known(f.Value)
			if err != nil {
				return nil, err
			}
			all = append(all, list...)
		}
	}
	return all, nil
}

// Known are the differences that the handler is known to have, each with the document that says so. It is containerd's name
// that counts, not that of a RuntimeClass; none are known of a handler that is not among All.
func Known(name string) ([]reports.Known, error) {
	text, err := known.ReadFile("known/" + name + ".yaml")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the known differences of %s: %w", name, err)
	}
	list, err := reports.ReadKnown(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("of the OCI handler %s: %w", name, err)
	}
	return list, nil
}
