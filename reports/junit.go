package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// The elements of a JUnit file, as far as Parley writes them. The names and the places of all are those of junit-10,
// the schema of Jenkins' xUnit plugin (jenkinsci/xunit-plugin), whose tightest rules are: no skipped count on
// <testsuites>, no properties on a <testcase>, name, tests, failures and errors on every <testsuite>.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		ID         int             `xml:"id,attr"`
		Package    string          `xml:"package,attr"`
		Hostname   string          `xml:"hostname,attr,omitempty"`
		Timestamp  string          `xml:"timestamp,attr,omitempty"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitVerdict `xml:"failure"`
		Error   *junitVerdict `xml:"error"`
		Skipped *junitVerdict `xml:"skipped"`
		Out     *junitText    `xml:"system-out"`
	}
	junitVerdict struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Body    string `xml:",cdata"`
	}
	// junitText is written as CDATA, so that its lines are lines in the file too.
	junitText struct {
		Text string `xml:",cdata"`
	}
)

// WriteJUnit writes the report as JUnit XML for Jenkins, GitLab and others: a suite per cluster and chapter, with the
// cluster's facts as its properties, and a case per requirement.
//
// JUnit has no word for some things. A warning is a skipped case of type "warning" whose message begins with
// "warning:" and whose body is the block of the failure: it fails no build and does not read as passed. A refuted
// proof is a failure of type "refuted", since the run fails by it. An interrupted run, or cluster of a matrix, has a case
// in error in a suite "run", so that a file cut short does not read as a whole one; a cluster of a matrix that was
// not made is a skipped case there, and so is, of type "changed", what changed of a cluster during the run. A known difference is a skipped case of type "known". The classname is parley.<chapter>; where a
// report has several clusters it is parley.<cluster>.<chapter>, since readers take equal names for one case.
func WriteJUnit(w io.Writer, r *Report) error {
	all := junitSuites{Name: oneLine("parley " + r.Run), Time: seconds(r.took())}
	for i := range r.Clusters {
		c := &r.Clusters[i]
		prefix := "parley."
		if len(r.Clusters)+len(r.NotRun) > 1 {
			prefix += strings.ReplaceAll(oneLine(c.Name), ".", "-") + "."
		}
		for _, ch := range c.chapters() {
			all.Suites = append(all.Suites, chapterSuite(r, c, ch, prefix+oneLine(ch.name)))
		}
	}
	all.Suites = append(all.Suites, runSuites(r)...)
	for i := range all.Suites {
		s := &all.Suites[i]
		s.ID = i
		s.count()
		all.Tests, all.Failures, all.Errors = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors
	}

	b, err := xml.MarshalIndent(all, "", "  ")
	if err == nil {
		_, err = io.WriteString(w, xml.Header+string(b)+"\n")
	}
	if err != nil {
		return fmt.Errorf("writing the report as JUnit: %w", err)
	}
	return nil
}

func chapterSuite(r *Report, c *Cluster, ch chapter, class string) junitSuite {
	s := junitSuite{Name: oneLine(strings.Trim(c.Name+"/"+ch.name, "/")), Package: class, Hostname: oneLine(r.Host)}
	for _, f := range c.Facts {
		s.Properties = append(s.Properties, junitProperty{oneLine(f.Name), oneLine(f.Value)})
	}
	if said := c.Unsteady(); said != "" {
		s.Properties = append(s.Properties, junitProperty{"held late", said})
	}
	for _, f := range c.Nodes {
		s.Properties = append(s.Properties, junitProperty{oneLine("finding on node " + f.Node), f.Sentence()})
	}
	var sum time.Duration
	var first, last time.Time
	for _, res := range ch.results {
		sum += max(res.Took, 0)
		if end := res.Started.Add(res.Took); !res.Started.IsZero() {
			if first.IsZero() || res.Started.Before(first) {
				first = res.Started
			}
			if end.After(last) {
				last = end
			}
		}
		s.Cases = append(s.Cases, requirementCase(res, class))
	}
	// Checks run side by side: what a person waited for is the span, not the sum.
	s.Time = seconds(sum)
	if !first.IsZero() {
		s.Time = seconds(last.Sub(first))
	} else {
		first = r.Started
	}
	s.Timestamp = timestamp(first)
	return s
}

func requirementCase(res *Result, class string) junitCase {
	c := junitCase{Class: class, Name: oneLine(res.ID), Time: seconds(res.Took), Out: &junitText{systemOut(res)}}
	why := res.Sentence()
	switch {
	case res.Outcome == Failed && res.Known != nil && !res.refuted():
		c.Skipped = &junitVerdict{"known", "known difference, " + res.Known.sentence() + ": " + why, "\n" + res.Block() + "\n"}
	case res.Outcome == Failed && res.Warning && !res.refuted():
		c.Skipped = &junitVerdict{"warning", "warning: " + why, "\n" + res.Block() + "\n"}
	case res.Outcome == Failed:
		c.Failure = &junitVerdict{oneLine(res.Level), why, "\n" + res.Block() + "\n"}
	case res.refuted():
		c.Failure = &junitVerdict{"refuted", "it can't be relied on: " + res.Proof.sentence(), ""}
	case res.Outcome == Skipped || res.Outcome == Unsupported:
		c.Skipped = &junitVerdict{string(res.Outcome), string(res.Outcome) + ": " + why, ""}
	case res.Outcome != Passed:
		c.Error = &junitVerdict{"not judged", why, "\n" + printable(why) + "\n"}
	}
	return c
}

// systemOut is what is known of a requirement beyond its outcome, one "name: value" a line.
func systemOut(r *Result) string {
	var b strings.Builder
	b.WriteByte('\n')
	line := func(name, value string) {
		if value = oneLine(value); value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	line("id", r.ID)
	line("title", r.Title)
	line("level", r.Level)
	line("clause", strings.Trim(r.Clause.URL+" "+r.Clause.Text, " "))
	for _, v := range r.Verdicts {
		value := string(v.Outcome)
		if v.Reason != "" {
			value += ": " + v.Reason
		}
		line("over "+oneLine(v.Family), value)
	}
	for _, v := range r.ByNode {
		if v.Outcome != Passed {
			line("on "+oneLine(v.Node)+" over "+oneLine(v.Family), string(v.Outcome)+": "+v.Reason)
		}
	}
	if nodes := r.nodes(); len(nodes) > 0 {
		line("judged on", strings.Join(nodes, ", "))
	}
	if r.roundCount() > 0 {
		line("judged in", r.roundsSentence())
	}
	if r.Proof == nil {
		line("proof", "not asked for")
	} else {
		line("proof", r.Proof.sentence())
		for i := range r.Proof.Parts {
			line("proof by each", r.Proof.Parts[i].sentence())
		}
	}
	if r.PutOff != "" {
		line("put off", "judged again when all else was done, since the nodes were too busy at first, when this was seen: "+r.PutOff)
	}
	for _, h := range r.HeldLate {
		line("held late", h.sentence())
	}
	for _, n := range r.Notes {
		line("note", n)
	}
	return b.String()
}

// sentence is the proof in one line.
func (p *Proof) sentence() string {
	s := string(p.State)
	if n := len(p.Parts); n > 0 {
		s += fmt.Sprintf(", %d of %d controls", p.provedParts(), n)
	}
	control := p.How
	if p.Point != "" {
		control = strings.TrimPrefix(control+", at "+p.Point, ", ")
	}
	if control != "" {
		s += " (" + control + ")"
	}
	if p.Reason != "" {
		s += ": " + p.Reason
	}
	if p.Red != "" {
		s += "; went red with: " + p.Red
	}
	if p.Took > 0 {
		s += "; took " + shortDuration(p.Took)
	}
	return oneLine(s)
}

func (p *Proof) provedParts() (n int) {
	for _, part := range p.Parts {
		if part.State == Proved {
			n++
		}
	}
	return n
}

func (s *junitSuite) count() {
	s.Tests = len(s.Cases)
	for _, c := range s.Cases {
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
}

// seconds is a time as JUnit has it, with a decimal point and never below zero: a clock may have been set back.
func seconds(d time.Duration) string { return strconv.FormatFloat(max(d, 0).Seconds(), 'f', 3, 64) }

// timestamp is a time as JUnit has it: ISO 8601 to the second without a zone, here always UTC.
func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05")
}
