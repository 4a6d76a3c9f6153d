package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"sigs.k8s.io/yaml"
)

// maxReport is how much of a report ReadReport reads, in bytes: far over any real one.
const maxReport = 64 << 20

// WriteJSON writes the report as indented JSON, with its Summary; times that were taken are strings like "1.5s".
func WriteJSON(w io.Writer, r *Report) error { return writeJSON(w, r, "the report") }

// WriteYAML writes the fields of WriteJSON as YAML.
func WriteYAML(w io.Writer, r *Report) error { return writeYAML(w, r, "the report") }

// WriteComparisonJSON writes a comparison as indented JSON.
func WriteComparisonJSON(w io.Writer, c *Comparison) error { return writeJSON(w, c, "the comparison") }

// WriteComparisonYAML writes the fields of WriteComparisonJSON as YAML.
func WriteComparisonYAML(w io.Writer, c *Comparison) error { return writeYAML(w, c, "the comparison") }

func writeJSON(w io.Writer, v any, what string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("writing %s as JSON: %w", what, err)
	}
	return nil
}

func writeYAML(w io.Writer, v any, what string) error {
	b, err := yaml.Marshal(v)
	if err == nil {
		_, err = w.Write(b)
	}
	if err != nil {
		return fmt.Errorf("writing %s as YAML: %w", what, err)
	}
	return nil
}

// ReadReport reads what WriteJSON or WriteYAML wrote. Fields that it doesn't know are ignored. A report of another
// version, over 64 MiB, or with a result that has no ID, a twin or an unknown outcome, level or state is an error.
func ReadReport(r io.Reader) (*Report, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxReport+1))
	if err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	if len(b) > maxReport {
		return nil, fmt.Errorf("reading the report: it is larger than %d MiB", maxReport>>20)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) {
		if b, err = yaml.YAMLToJSON(b); err != nil {
			return nil, fmt.Errorf("reading the report: it is neither JSON nor YAML: %w", err)
		}
	}
	// The version comes first: a report of another one may have other types in the same places.
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	if head.APIVersion != APIVersion || head.Kind != Kind {
		return nil, fmt.Errorf("reading the report: it is %q of %q, not a %s of %s",
			head.Kind, head.APIVersion, Kind, APIVersion)
	}
	rep := new(Report)
	if err := json.Unmarshal(b, rep); err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	if err := rep.validate(); err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	return rep, nil
}

var (
	outcomes = []Outcome{Passed, Failed, Skipped, Unsupported, Errored}
	levels   = []string{Must, Should, Optional}
	states   = []ProofState{Proved, Unproved, Refuted, ProofNotRun}
)

func (r *Report) validate() error {
	for _, c := range r.Clusters {
		seen := map[string]bool{}
		for i := range c.Results {
			res := &c.Results[i]
			err := res.validate()
			if err == nil && seen[res.ID] {
				err = errors.New("it is there twice")
			}
			if err != nil {
				return fmt.Errorf("result %q of cluster %q: %w", res.ID, c.Name, err)
			}
			seen[res.ID] = true
		}
	}
	return nil
}

func (r *Result) validate() error {
	switch {
	case r.ID == "":
		return errors.New("it has no ID")
	case !slices.Contains(outcomes, r.Outcome):
		return fmt.Errorf("unknown outcome %q", r.Outcome)
	case !slices.Contains(levels, r.Level):
		return fmt.Errorf("unknown level %q", r.Level)
	case r.Proof != nil && !slices.Contains(states, r.Proof.State):
		return fmt.Errorf("unknown state of proof %q", r.Proof.State)
	}
	if r.Proof != nil {
		for _, p := range r.Proof.Parts {
			if !slices.Contains(states, p.State) {
				return fmt.Errorf("unknown state of proof %q", p.State)
			}
		}
	}
	for _, v := range r.Verdicts {
		if !slices.Contains(outcomes, v.Outcome) {
			return fmt.Errorf("unknown outcome %q over %s", v.Outcome, v.Family)
		}
	}
	return nil
}

// duration is a time.Duration that reads "1.5s" in a file. The types below put it in the place of their plain
// durations, which stay plain for the programs that use them.
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = duration(v)
	return err
}

type (
	reportFields  Report
	resultFields  Result
	failureFields Failure
	proofFields   Proof

	resultWire struct {
		*resultFields
		Took duration `json:"took,omitzero"`
	}
	failureWire struct {
		*failureFields
		Took duration `json:"took,omitzero"`
	}
	proofWire struct {
		*proofFields
		Took duration `json:"took,omitzero"`
	}
)

// encode is json.Marshal without \u003c for what a person should read as "<".
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// MarshalJSON adds the Summary.
func (r Report) MarshalJSON() ([]byte, error) {
	return encode(struct {
		reportFields
		Summary Summary `json:"summary"`
	}{reportFields(r), r.Summary()})
}

// MarshalJSON writes durations as text.
func (r Result) MarshalJSON() ([]byte, error) {
	return encode(resultWire{(*resultFields)(&r), duration(r.Took)})
}

// UnmarshalJSON reads durations as text.
func (r *Result) UnmarshalJSON(b []byte) error {
	w := resultWire{resultFields: (*resultFields)(r)}
	err := json.Unmarshal(b, &w)
	r.Took = time.Duration(w.Took)
	return err
}

// MarshalJSON writes durations as text.
func (f Failure) MarshalJSON() ([]byte, error) {
	return encode(failureWire{(*failureFields)(&f), duration(f.Took)})
}

// UnmarshalJSON reads durations as text.
func (f *Failure) UnmarshalJSON(b []byte) error {
	w := failureWire{failureFields: (*failureFields)(f)}
	err := json.Unmarshal(b, &w)
	f.Took = time.Duration(w.Took)
	return err
}

// MarshalJSON writes durations as text.
func (p Proof) MarshalJSON() ([]byte, error) {
	return encode(proofWire{(*proofFields)(&p), duration(p.Took)})
}

// UnmarshalJSON reads durations as text.
func (p *Proof) UnmarshalJSON(b []byte) error {
	w := proofWire{proofFields: (*proofFields)(p)}
	err := json.Unmarshal(b, &w)
	p.Took = time.Duration(w.Took)
	return err
}
