package convergence

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

const ms = time.Millisecond

func TestJudge(t *testing.T) {
	at := time.Now()
	// asked is what each question asked 10 ms after the one before it got: a name answered, "" refused.
	asked := func(got ...string) (all []question) {
		for i, who := range got {
			q := question{asked: at.Add(time.Duration(i) * 10 * ms), who: who, same: true}
			q.answered = q.asked.Add(ms)
			switch who {
			case "":
				q.errno = wire.Errno{Class: wire.Refused}
			case "changed":
				q.errno, q.same, q.changed = wire.Errno{Class: wire.Other}, false, true
			}
			all = append(all, q)
		}
		return all
	}
	many := func(who string, n int) (all []string) {
		for range n {
			all = append(all, who)
		}
		return all
	}
	a, nobody := Expect{By: []string{"a"}}, Expect{}
	ab := Expect{By: []string{"a", "b"}, Every: true}
	for _, c := range []struct {
		name                  string
		expect                Expect
		got                   []string
		settled               bool
		firstRight, lastWrong time.Duration
		missing               []string
		within                time.Duration // 0 is an hour
		beside                []string      // got beside it, 10 ms after one another, too; where it is nil each is answered
		unheard               bool
		late                  bool
	}{
		{name: "nothing asked", expect: a},
		{name: "right from the start", expect: a, got: many("a", inRow), settled: true, firstRight: ms},
		{name: "one too few", expect: a, got: many("a", inRow-1), firstRight: ms},
		{name: "wrong, then right", expect: a, got: append([]string{"b", ""}, many("a", inRow)...), settled: true, firstRight: 21 * ms, lastWrong: 10 * ms},
		{name: "a relapse", expect: a, got: append([]string{"b", "a", "b"}, many("a", inRow)...), settled: true, firstRight: 11 * ms, lastWrong: 20 * ms},
		{name: "a relapse at the end", expect: a, got: append(many("a", inRow), "b"), firstRight: ms, lastWrong: inRow * 10 * ms},
		{name: "nobody answers any more", expect: nobody, got: append([]string{"a"}, many("", inRow)...), settled: true, firstRight: 11 * ms},
		{name: "silence, and nothing is known of what was asked beside", expect: nobody, got: many("", 3*inRow), beside: []string{}},
		{name: "silence, and the client hears nothing at all", expect: nobody, got: many("", 4*inRow), beside: many("", 4*inRow), unheard: true},
		{name: "silence, and the client hears nothing at first", expect: nobody, got: many("", 5*inRow), beside: append(many("", 3*inRow), many("a", 2*inRow)...),
			settled: true, firstRight: 351 * ms, unheard: true},
		{name: "silence, and what was asked beside is lost now and then", expect: nobody, got: many("", inRow), beside: []string{"", "", "a", "", "", "", "a", ""},
			settled: true, firstRight: ms},
		{name: "an answer while the client hears nothing else", expect: nobody, got: append([]string{"a"}, many("", 4*inRow)...), beside: many("", 5*inRow),
			unheard: true},
		{name: "one of two", expect: ab, got: many("a", 3*inRow), missing: []string{"b"}},
		{name: "both", expect: ab, got: append(append(many("a", 3), "b"), many("a", inRow)...), settled: true, firstRight: 31 * ms},
		{name: "both and a stranger", expect: ab, got: append([]string{"a", "b", "c"}, many("a", inRow)...), settled: true, firstRight: 11 * ms, lastWrong: 20 * ms},
		{name: "wrong until the time is up", expect: a, got: append([]string{"b", "b"}, many("a", inRow)...), settled: true, firstRight: 21 * ms, lastWrong: 10 * ms, within: 20 * ms},
		{name: "wrong after it", expect: a, got: []string{"b", "b", "b", "a"}, firstRight: 31 * ms, lastWrong: 20 * ms, within: 20 * ms, late: true},
		{name: "changed on the way, then right", expect: a, got: append([]string{"b", "changed"}, many("a", inRow)...), settled: true, firstRight: 21 * ms, lastWrong: 10 * ms, late: true},
		{name: "nobody is to answer, and something changed does", expect: nobody, got: append([]string{"changed"}, many("", inRow)...), settled: true, firstRight: 11 * ms, late: true},
		{name: "one of two after it", expect: ab, got: many("a", 4), missing: []string{"b"}, within: 20 * ms, late: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.within == 0 {
				c.within = time.Hour
			}
			if c.beside == nil {
				c.beside = many("beside", len(c.got))
			}
			p := c.expect.judge(asked(c.got...), asked(c.beside...), at, c.within)
			require.Equal(t, c.unheard, p.unheard)
			require.Equal(t, c.late, p.late)
			require.Equal(t, c.settled, p.settled)
			require.Equal(t, c.firstRight, p.firstRight)
			require.Equal(t, c.lastWrong, p.lastWrong)
			require.ElementsMatch(t, c.missing, p.missing)
			require.Equal(t, len(c.got), p.asked)
		})
	}
}

func TestSinceStopsAtAnOpenQuestion(t *testing.T) {
	at := time.Now()
	closed := func(after time.Duration) *wire.PollSample {
		return &wire.PollSample{At: (after + 10*ms).Microseconds(), Took: ms.Microseconds()}
	}
	s := &stream{begun: at.Add(-10 * ms), asked: []*wire.PollSample{closed(-3 * ms), nil, closed(-ms), closed(0), nil, closed(2 * ms)}}
	for after, want := range map[time.Duration]int{-3 * ms: 1, -2 * ms: 0, -ms: 0, 0: 1, ms: 0, 2 * ms: 0, 3 * ms: 0} {
		got, err := s.since(at.Add(after))
		require.NoError(t, err)
		require.Len(t, got, want, "%s", after)
	}
	s.err = errors.New("lost")
	_, err := s.since(at)
	require.ErrorIs(t, err, s.err)
}

func TestTakeKnowsWhenTheAskingBegan(t *testing.T) {
	s, began := &stream{}, time.Now()
	at := func(n, after int64) wire.PollSample {
		return wire.PollSample{N: int(n), At: after * 1000, Took: 1000, Who: "a", Same: true}
	}
	// The first batch takes 30 ms to arrive, the second 5, the third 50.
	s.take(wire.PollResult{Now: 10_000, Samples: []wire.PollSample{at(0, 0)}}, began.Add(40*ms))
	s.take(wire.PollResult{Now: 60_000, Samples: []wire.PollSample{at(2, 50)}}, began.Add(65*ms))
	s.take(wire.PollResult{Now: 100_000, Samples: []wire.PollSample{at(1, 25)}}, began.Add(150*ms))
	got, err := s.since(began)
	require.NoError(t, err)
	require.Len(t, got, 3)
	for i, after := range []time.Duration{5 * ms, 30 * ms, 55 * ms} {
		require.Equal(t, after, got[i].asked.Sub(began))
		require.Equal(t, after+ms, got[i].answered.Sub(began))
	}
}

func TestFamily(t *testing.T) {
	for dial, want := range map[string]string{"10.0.0.1:80": "IPv4", "[fd00::1]:80": "IPv6", "/a/path": ""} {
		require.Equal(t, want, family(dial))
	}
}

func TestPortsOutlastConnectionTracking(t *testing.T) {
	// nf_conntrack_tcp_timeout_syn_sent: how long a SYN that nobody answered is remembered.
	require.Greater(t, every*(lastPort-firstPort+1), 120*time.Second)
}
