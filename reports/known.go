package reports

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Known is a known difference: a failure of one requirement in one kind of cluster that is accepted until a day. It is
// shown all the same, and the exit code does not count it.
type Known struct {
	// ID is the requirement's.
	ID string `json:"id"`
	// Where is a value of an axis ("nftables"), a cluster of a matrix ("dual+nftables"), the name of a cluster, a runtime
	// without its version ("cri-o"), or the value of one of its facts ("v1.36.3", "ipv6"), in capitals or not.
	Where string `json:"where"`
	// Link is the URL of the document or issue that says so.
	Link string `json:"link"`
	// Why is the reason in a sentence.
	Why string `json:"why,omitempty"`
	// Expires is the last day on which it is accepted, as 2006-01-02.
	Expires string `json:"expires"`
}

// maxKnown bounds a file of known differences, in bytes.
const maxKnown = 1 << 20

// ReadKnown reads a file of known differences: a YAML list of Known. A field that is missing, unknown or has a
// value that it can't have is an error, and so is an entry that is there twice.
func ReadKnown(r io.Reader) ([]Known, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxKnown+1))
	if err != nil {
		return nil, fmt.Errorf("reading the known differences: %w", err)
	}
	if len(b) > maxKnown {
		return nil, fmt.Errorf("reading the known differences: they are larger than %d MiB", maxKnown>>20)
	}
	var list []Known
	if err := yaml.UnmarshalStrict(b, &list); err != nil {
		return nil, fmt.Errorf("reading the known differences: they are no list of entries with id, where, link, expires and perhaps why: %s", oneLine(err.Error()))
	}
	if len(list) == 0 && len(bytes.TrimSpace(b)) == 0 {
		return nil, fmt.Errorf("reading the known differences: the file is empty; write [] for none")
	}
	type place struct{ id, where string }
	seen := map[place]bool{}
	for i := range list {
		if err := list[i].check(); err != nil {
			return nil, fmt.Errorf("known difference %d (%s): %w", i+1, oneLine(list[i].ID), err)
		}
		at := place{list[i].ID, list[i].Where}
		if seen[at] {
			return nil, fmt.Errorf("known difference %d (%s): it is there twice for %s", i+1, oneLine(at.id), oneLine(at.where))
		}
		seen[at] = true
	}
	return list, nil
}

func (k Known) check() error {
	for _, f := range []struct{ name, value string }{{"id", k.ID}, {"where", k.Where}, {"link", k.Link}, {"expires", k.Expires}} {
		if strings.TrimSpace(f.value) == "" {
			return fmt.Errorf("it has no %s", f.name)
		}
	}
	if u, err := url.Parse(k.Link); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("link %s: it is no address of a page", oneLine(k.Link))
	}
	if _, err := time.Parse(time.DateOnly, k.Expires); err != nil {
		return fmt.Errorf("expires %s: write the day as 2006-01-02", oneLine(k.Expires))
	}
	return nil
}

// expired says whether the last day has passed, in UTC.
func (k Known) expired(now time.Time) bool {
	day, err := time.Parse(time.DateOnly, k.Expires)
	return err != nil || !now.UTC().Before(day.AddDate(0, 0, 1))
}

// On says whether Where names the cluster.
func (k Known) On(c *Cluster) bool {
	return k.Where == c.Name || slices.Contains(c.Values, k.Where) ||
		slices.ContainsFunc(c.Facts, func(f Fact) bool {
			return strings.EqualFold(f.Value, k.Where) || strings.HasPrefix(f.Value, k.Where+"://")
		})
}

// sentence is the entry in one line, without its ID.
func (k Known) sentence() string {
	s := "on " + k.Where + " until " + k.Expires + " (" + k.Link + ")"
	if k.Why != "" {
		s += ", " + k.Why
	}
	return oneLine(s)
}

// findKnown is the entry that is in force for a result of the cluster, nil where there is none. expired is one that was.
func findKnown(list []Known, c *Cluster, id string, now time.Time) (known, expired *Known) {
	for i := range list {
		k := &list[i]
		switch {
		case k.ID != id || !k.On(c):
		case k.expired(now):
			expired = k
		default:
			return k, nil
		}
	}
	return nil, expired
}

// MarkKnown sets Known, or Lapsed, of a result of the cluster that failed or is unsupported, where an entry says so.
func (res *Result) MarkKnown(list []Known, c *Cluster, now time.Time) {
	res.Known, res.Lapsed = nil, nil
	if res.Outcome != Failed && res.Outcome != Unsupported {
		return
	}
	known, expired := findKnown(list, c, res.ID, now)
	res.Known, res.Lapsed = clone(known), clone(expired)
}

func clone(k *Known) *Known {
	if k == nil {
		return nil
	}
	copied := *k
	return &copied
}

// MarkKnown marks every result, and adds a notice for each entry that has expired, that names a requirement that the report
// does not have, or that is no longer needed since the requirement passed. Call it before MarkWarnings.
func (r *Report) MarkKnown(list []Known, now time.Time) {
	type seen struct{ id, differs, passed bool }
	of := make([]seen, len(list))
	for i := range r.Clusters {
		c := &r.Clusters[i]
		for n := range c.Results {
			res := &c.Results[n]
			res.MarkKnown(list, c, now)
			for j, k := range list {
				if k.ID != res.ID {
					continue
				}
				of[j].id = true
				if k.On(c) {
					of[j].differs = of[j].differs || res.Outcome == Failed || res.Outcome == Unsupported
					of[j].passed = of[j].passed || res.Outcome == Passed
				}
			}
		}
	}
	for j, k := range list {
		about := fmt.Sprintf("the known difference of %s on %s", oneLine(k.ID), oneLine(k.Where))
		switch s := of[j]; {
		case !s.id:
			r.Notices = append(r.Notices, about+" names a requirement that is not there")
		case s.differs && k.expired(now):
			r.Notices = append(r.Notices, fmt.Sprintf("%s expired on %s and counts again: %s", about, k.Expires, oneLine(k.Link)))
		case k.expired(now):
			r.Notices = append(r.Notices, fmt.Sprintf("%s expired on %s: renew or remove it", about, k.Expires))
		case s.passed && !s.differs:
			r.Notices = append(r.Notices, about+" is none any more, the requirement passed: remove it")
		}
	}
}
