package convergence

import (
	"slices"
	"strings"
	"time"
)

// Expect is what clients are to be answered after a change.
type Expect struct {
	What   string        // the change, for the report: "an endpoint turns ready"
	Within time.Duration // of the change
	// By are the hostnames of those who may answer; none: nobody answers any more.
	By []string
	// Beside is, where nobody is to answer any more, an address that answers the client all along, over its network: silence counts only at
	// the moments at which that answers.
	Beside func(Client) (dial string, err error)
	// Every is where each of them is to answer each client at least once.
	Every bool
	// Red is the step that a control turns red: under one it gets less time, and what comes before it does not.
	Red bool
}

// right says whether an answer is what is expected.
func (e Expect) right(q question) bool {
	if q.changed {
		return false // somebody answered, or something on the way did
	}
	if len(e.By) == 0 {
		return !q.errno.Ok()
	}
	return q.errno.Ok() && q.same && slices.Contains(e.By, q.who)
}

func (e Expect) describe() string {
	switch {
	case len(e.By) == 0:
		return "no answer"
	case e.Every:
		return "answers by each of " + list(e.By)
	}
	return "an answer by " + strings.Join(e.By, " or ")
}

func list(names []string) string { return strings.Join(names, ", ") }

// describe says what came of a question.
func (q question) describe() string {
	switch {
	case q.asked.IsZero():
		return "no question that was closed"
	case q.errno.Ok():
		return "an answer by " + q.who
	}
	return q.errno.String()
}

// progress is how far a client's answers have come.
type progress struct {
	settled               bool
	late                  bool // what is expected did not hold when the time was up
	firstRight, lastWrong time.Duration
	asked, changed        int      // questions, and those whose bytes arrived as others
	last                  question // the last that was wrong, or the last of all
	unheard               bool     // silence at a moment at which nothing was heard beside it, after the last that was wrong
	missing               []string // who has not answered yet, under Every
}

// judge looks at the closed questions that were asked since the change at, in their order. A question that is asked after
// the time that the change has must be answered rightly: what is slow to answer is no failure. What arrives changed is one at any time.
// beside are the closed questions that the same client asked at Beside.
func (e Expect) judge(all, beside []question, at time.Time, within time.Duration) progress {
	p := progress{asked: len(all)}
	if e.Every {
		p.missing = slices.Clone(e.By)
	}
	row, seenRight, wrong := 0, false, false
	for _, q := range all {
		after := q.asked.Sub(at)
		if !e.right(q) {
			row, wrong, p.lastWrong, p.unheard = 0, true, after, false
			if p.changed == 0 {
				p.last = q
			}
			if q.changed { // no change of who answers does that
				p.changed++
			}
			p.late = p.late || after >= within || q.changed
			continue
		}
		if !wrong {
			p.last = q
		}
		if len(e.By) == 0 {
			heard, known := heardAt(beside, q.asked)
			if !known {
				break
			}
			if !heard {
				row, p.unheard = 0, true
				continue
			}
		}
		row++
		p.missing = slices.DeleteFunc(p.missing, func(name string) bool { return name == q.who })
		if !seenRight && len(p.missing) == 0 {
			seenRight, p.firstRight = true, q.answered.Sub(at)
		}
		p.late = p.late || after >= within && len(p.missing) > 0
	}
	p.settled = seenRight && row >= inRow
	return p
}

// heardAt says whether a question that was asked beside about that time was answered; known is false while one may still be.
func heardAt(beside []question, at time.Time) (heard, known bool) {
	for _, q := range beside {
		if q.asked.After(at.Add(besideWithin)) {
			return false, true
		}
		if q.asked.Before(at.Add(-besideWithin)) {
			continue
		}
		if q.errno.Ok() && q.same && !q.changed {
			return true, true
		}
	}
	return false, false
}
