package convergence

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

const ms = time.Millisecond

func TestJudge(t *testing.T) {
	at := time.Now()
	// asked is what each question asked 10 ms after the one before it got: a name answered, "" refused, "!" could not be asked.
	asked := func(got ...string) (all []question) {
		for i, who := range got {
			q := question{asked: at.Add(time.Duration(i) * 10 * ms), who: who, same: true}
			q.answered = q.asked.Add(ms)
			switch who {
			case "":
				q.errno = wire.Errno{Class: wire.Refused}
			case "!":
				q.err = errors.New("lost")
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
		late                  bool
	}{
		{name: "nothing asked", expect: a},
		{name: "right from the start", expect: a, got: many("a", inRow), settled: true, firstRight: ms},
		{name: "one too few", expect: a, got: many("a", inRow-1), firstRight: ms},
		{name: "wrong, then right", expect: a, got: append([]string{"b", ""}, many("a", inRow)...), settled: true, firstRight: 21 * ms, lastWrong: 10 * ms},
		{name: "a relapse", expect: a, got: append([]string{"b", "a", "b"}, many("a", inRow)...), settled: true, firstRight: 11 * ms, lastWrong: 20 * ms},
		{name: "a relapse at the end", expect: a, got: append(many("a", inRow), "b"), firstRight: ms, lastWrong: inRow * 10 * ms},
		{name: "what could not be asked is not right", expect: a, got: append(many("a", inRow), "!"), firstRight: ms, lastWrong: inRow * 10 * ms},
		{name: "nobody answers any more", expect: nobody, got: append([]string{"a"}, many("", inRow)...), settled: true, firstRight: 11 * ms},
		{name: "what could not be asked is no silence", expect: nobody, got: many("!", inRow), lastWrong: (inRow - 1) * 10 * ms},
		{name: "one of two", expect: ab, got: many("a", 3*inRow), missing: []string{"b"}},
		{name: "both", expect: ab, got: append(append(many("a", 3), "b"), many("a", inRow)...), settled: true, firstRight: 31 * ms},
		{name: "both and a stranger", expect: ab, got: append([]string{"a", "b", "c"}, many("a", inRow)...), settled: true, firstRight: 11 * ms, lastWrong: 20 * ms},
		{name: "wrong until the time is up", expect: a, got: append([]string{"b", "b"}, many("a", inRow)...), settled: true, firstRight: 21 * ms, lastWrong: 10 * ms, within: 20 * ms},
		{name: "wrong after it", expect: a, got: []string{"b", "b", "b", "a"}, firstRight: 31 * ms, lastWrong: 20 * ms, within: 20 * ms, late: true},
		{name: "one of two after it", expect: ab, got: many("a", 4), missing: []string{"b"}, within: 20 * ms, late: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.within == 0 {
				c.within = time.Hour
			}
			p := c.expect.judge(asked(c.got...), at, c.within)
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
	closed := func(after time.Duration) *question {
		return &question{asked: at.Add(after), answered: at.Add(after + ms)}
	}
	s := &stream{asked: []*question{closed(-ms), closed(0), {asked: at.Add(ms)}, closed(2 * ms)}}
	require.Len(t, s.since(at), 1)
	require.Len(t, s.since(at.Add(2*ms)), 1)
	require.Len(t, s.since(at.Add(-ms)), 2)
}

func TestFamily(t *testing.T) {
	for dial, want := range map[string]string{"10.0.0.1:80": "IPv4", "[fd00::1]:80": "IPv6", "/a/path": ""} {
		require.Equal(t, want, family(dial))
	}
}

func TestPortsComeAgainAfterAllOthers(t *testing.T) {
	p, seen := drawPorts(), map[string]bool{}
	for range lastPort - firstPort + 1 {
		port := p.next()
		require.False(t, seen[port], "%s comes twice", port)
		n, err := strconv.Atoi(strings.TrimPrefix(port, ":"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, firstPort)
		require.LessOrEqual(t, n, lastPort)
		seen[port] = true
	}
	require.True(t, seen[p.next()])
	// Longer than connection tracking keeps a SYN that nobody answered (nf_conntrack_tcp_timeout_syn_sent).
	require.Greater(t, every*time.Duration(len(seen)), 120*time.Second)
}
