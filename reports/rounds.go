package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// roundCount is in how many rounds a result was judged; 0 where there was one only.
func (r *Result) roundCount() (n int) {
	for _, of := range r.Rounds {
		n += of
	}
	return n
}

// roundsSentence says how the rounds ended: "20 rounds: 19 passed, 1 failed".
func (r *Result) roundsSentence() string {
	var parts []string
	for _, o := range slices.SortedFunc(maps.Keys(r.Rounds), func(a, b Outcome) int {
		return cmp.Or(r.Rounds[b]-r.Rounds[a], strings.Compare(string(a), string(b)))
	}) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Rounds[o], o))
	}
	return fmt.Sprintf("%d rounds: %s", r.roundCount(), strings.Join(parts, ", "))
}

// rounds says what did not end the same way each time.
func (s *summaryWriter) rounds(c *Cluster) {
	most, verdicts, judged := 0, 0, 0
	var changing []*Result
	for i := range c.Results {
		res := &c.Results[i]
		n := res.roundCount()
		if n == 0 {
			continue
		}
		most, verdicts, judged = max(most, n), verdicts+n, judged+1
		if len(res.Rounds) > 1 {
			changing = append(changing, res)
		}
	}
	if most == 0 {
		return
	}
	brush := s.green
	if len(changing) > 0 {
		brush = s.red
	}
	s.title(brush, fmt.Sprintf("ROUNDS %d, %d verdicts: %d of %d requirements ended the same way each time", most, verdicts, judged-len(changing), judged))
	for _, res := range changing {
		s.item(res.ID + ": " + res.roundsSentence())
	}
}
