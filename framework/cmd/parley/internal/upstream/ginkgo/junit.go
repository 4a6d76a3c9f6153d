// Package ginkgo reads the JUnit report that ginkgo writes of a suite of specs.
package ginkgo

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"time"
)

// reportMax bounds the report that is read, in bytes: of all 7,500 specs skipped it has 3 MB.
const reportMax = 256 << 20

// Spec is one spec that was not skipped, or a step of the suite's own that failed.
type Spec struct {
	Name   string
	Took   time.Duration
	Passed bool
	// First is the first line of the failure's message, and Bytes the size of all its text; none for one that passed.
	First string
	Bytes int
	// NoImage is the image that a pod of the spec waited for in vain; "" where there was none.
	NoImage string
}

// testCase is a case as ginkgo writes it.
type testCase struct {
	Name    string  `xml:"name,attr"`
	Status  string  `xml:"status,attr"`
	Seconds float64 `xml:"time,attr"`
	Failure *text   `xml:"failure"`
	Error   *text   `xml:"error"`
	Out     string  `xml:"system-out"`
	Err     string  `xml:"system-err"`
}

type text struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// leaf is how ginkgo names specs; other names are of the suite's own steps.
const leaf = "[It] "

// notPulled is the kubelet's event of an image that is not there.
var notPulled = regexp.MustCompile(`Failed to pull image "([^"]{1,300})"`)

// Read reads the specs that ran, in their order, and what failed of the suite's own steps. A report that is cut
// short, or is none, is an error.
func Read(r io.Reader) ([]Spec, error) {
	limited := &io.LimitedReader{R: r, N: reportMax}
	d := xml.NewDecoder(limited)
	var specs []Spec
	seen := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading ginkgo's report: %w", err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch start.Name.Local {
		case "testsuites":
			seen = true
		case "testcase":
			var c testCase
			if err := d.DecodeElement(&c, &start); err != nil {
				return nil, fmt.Errorf("reading ginkgo's report: %w", err)
			}
			if s, ran := c.spec(); ran {
				specs = append(specs, s)
			}
		}
	}
	if !seen || limited.N <= 0 {
		return nil, errors.New("reading ginkgo's report: it is not one, or too long")
	}
	return specs, nil
}

// spec is the case as far as it counts; ran is false for what was skipped and for the suite's own steps that passed.
func (c testCase) spec() (s Spec, ran bool) {
	name, isSpec := strings.CutPrefix(c.Name, leaf)
	s = Spec{Name: strings.TrimSpace(name), Passed: c.Status == "passed", Took: seconds(c.Seconds)}
	switch {
	case c.Status == "skipped" || c.Status == "pending" || s.Passed && !isSpec:
		return Spec{}, false
	case s.Passed:
		return s, true
	}
	var all string
	for _, t := range []*text{c.Failure, c.Error} {
		if t != nil {
			// The text is the message again, with where it came from.
			s.First, s.Bytes = FirstLine(t.Message+"\n"+t.Text), max(len(t.Text), len(t.Message))
			all = t.Message + t.Text
		}
	}
	if s.First == "" {
		s.First = "no message: its state is " + c.Status
	}
	for _, said := range []string{all, c.Err, c.Out} {
		if found := notPulled.FindStringSubmatch(said); found != nil && s.NoImage == "" {
			s.NoImage = found[1]
		}
	}
	return s, true
}

// seconds is a time that was written as seconds; nonsense is 0.
func seconds(s float64) time.Duration {
	if math.IsNaN(s) || s < 0 || s > 1e6 {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// FirstLine is the first line of a message that says something.
func FirstLine(message string) string {
	for line := range strings.Lines(message) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}
