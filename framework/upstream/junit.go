package upstream

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

// junitMax bounds the report that is read, in bytes: of all 7,500 specs skipped it has 3 MB.
const junitMax = 256 << 20

// spec is one case of ginkgo's JUnit report that was not skipped.
type spec struct {
	name   string
	took   time.Duration
	passed bool
	// first is the first line of the failure's message, and bytes the size of all its text; none for one that passed.
	first string
	bytes int
	// noImage is the image that a pod of the spec waited for in vain; "" where there was none.
	noImage string
}

// junitCase is a case as ginkgo writes it.
type junitCase struct {
	Name    string     `xml:"name,attr"`
	Status  string     `xml:"status,attr"`
	Seconds float64    `xml:"time,attr"`
	Failure *junitText `xml:"failure"`
	Error   *junitText `xml:"error"`
	Out     string     `xml:"system-out"`
	Err     string     `xml:"system-err"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// leaf is how ginkgo names specs; other names are of the suite's own steps.
const leaf = "[It] "

// notPulled is the kubelet's event of an image that is not there.
var notPulled = regexp.MustCompile(`Failed to pull image "([^"]{1,300})"`)

// readJUnit reads the specs that ran, in their order, and what failed of the suite's own steps. A report that is cut
// short, or is none, is an error.
func readJUnit(r io.Reader) ([]spec, error) {
	limited := &io.LimitedReader{R: r, N: junitMax}
	d := xml.NewDecoder(limited)
	var specs []spec
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
			var c junitCase
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
func (c junitCase) spec() (s spec, ran bool) {
	name, isSpec := strings.CutPrefix(c.Name, leaf)
	s = spec{name: strings.TrimSpace(name), passed: c.Status == "passed", took: seconds(c.Seconds)}
	switch {
	case c.Status == "skipped" || c.Status == "pending" || s.passed && !isSpec:
		return spec{}, false
	case s.passed:
		return s, true
	}
	var all string
	for _, text := range []*junitText{c.Failure, c.Error} {
		if text != nil {
			s.first, all = firstLine(text.Message+"\n"+text.Text), text.Message
			// The text is the message again, with where it came from.
			s.bytes = max(len(text.Text), len(text.Message))
			all += text.Text
		}
	}
	if s.first == "" {
		s.first = "no message: its state is " + c.Status
	}
	for _, text := range []string{all, c.Err, c.Out} {
		if found := notPulled.FindStringSubmatch(text); found != nil && s.noImage == "" {
			s.noImage = found[1]
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

// firstLine is the first line of a message that says something.
func firstLine(message string) string {
	for line := range strings.Lines(message) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}
