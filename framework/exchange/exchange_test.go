package exchange

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/internal/fakeagent"
	"github.com/parley-k8s/parley/framework/probe"
	"github.com/parley-k8s/parley/framework/requirement"
)

var (
	client = &requirement.End{Role: "client", Namespace: "ns", Pod: "client", Container: "c", Node: "n1"}
	near   = &requirement.End{Role: "near", Namespace: "ns", Pod: "near", Container: "c", Node: "n1"}
	far    = &requirement.End{Role: "far", Namespace: "ns", Pod: "far", Container: "c", Node: "n2"}
)

// worked is an exchange of the client 10.0.0.1 with near at 10.0.0.2 that nobody translated.
func worked() wire.Exchange {
	return wire.Exchange{Local: "10.0.0.1:40000", Remote: "10.0.0.2:8080", Same: true, Bytes: 32,
		Witness: &wire.Witness{Who: "near", Local: "10.0.0.2:8080", Remote: "10.0.0.1:40000"}}
}

func TestJudge(t *testing.T) {
	ended := func(class wire.Class, step string) wire.Exchange {
		return wire.Exchange{Errno: wire.Errno{Class: class, Text: "in its own words"}, Step: step}
	}
	seen := func(change func(*wire.Exchange)) wire.Exchange {
		e := worked()
		change(&e)
		return e
	}
	toNear := Talk{From: client, To: near, Network: "tcp", Dial: "10.0.0.2:8080"}
	with := func(change func(*Talk)) Talk {
		t := toNear
		change(&t)
		return t
	}
	noNAT := with(func(t *Talk) { t.NoNAT = true })
	among := with(func(t *Talk) { t.To, t.Among, t.Dial = nil, []*requirement.End{near, far}, "10.96.0.1:80" })
	for name, c := range map[string]struct {
		talk               Talk
		seen               wire.Exchange
		reason             requirement.Reason // "" where it holds
		expected, observed string
	}{
		"it works":                     {talk: toNear, seen: worked()},
		"it works untranslated":        {talk: noNAT, seen: worked()},
		"translated, and nobody minds": {talk: toNear, seen: seen(func(e *wire.Exchange) { e.Witness.Remote = "10.0.0.254:40000" })},
		"the client translated": {talk: noNAT, seen: seen(func(e *wire.Exchange) { e.Witness.Remote = "10.0.0.254:40000" }), reason: requirement.Translated,
			expected: "the server to see the client's own address 10.0.0.1", observed: "the client as 10.0.0.254:40000"},
		"only the client's port translated": {talk: noNAT, seen: seen(func(e *wire.Exchange) { e.Witness.Remote = "10.0.0.1:1024" })},
		"the server translated": {talk: noNAT, seen: seen(func(e *wire.Exchange) { e.Remote = "10.96.0.1:80" }), reason: requirement.Translated,
			expected: "the client to reach the server's own address 10.96.0.1", observed: "the server reached at 10.0.0.2:8080"},
		"IPv4 as IPv6 has it is no translation": {talk: noNAT, seen: seen(func(e *wire.Exchange) { e.Witness.Remote = "[::ffff:10.0.0.1]:40000" })},
		"an interface's zone is no translation": {talk: noNAT, seen: seen(func(e *wire.Exchange) {
			e.Local, e.Witness.Remote = "[fe80::1%eth0]:40000", "[fe80::1%veth7]:40000"
		})},

		"another pod answers": {talk: toNear, seen: seen(func(e *wire.Exchange) { e.Witness.Who = "far" }), reason: requirement.WrongPeer,
			expected: "an answer from 10.0.0.2:8080 over tcp by near", observed: "an answer by far"},
		"the first of several answers": {talk: among, seen: worked()},
		"the last of several answers":  {talk: among, seen: seen(func(e *wire.Exchange) { e.Witness.Who = "far" })},
		"none of several answers": {talk: among, seen: seen(func(e *wire.Exchange) { e.Witness.Who = "stranger" }), reason: requirement.WrongPeer,
			expected: "an answer from 10.96.0.1:80 over tcp by one of the endpoints", observed: "an answer by stranger"},
		"anybody may answer": {talk: with(func(t *Talk) { t.To = nil }), seen: seen(func(e *wire.Exchange) { e.Witness.Who = "stranger" })},

		"the bytes changed on the way there": {talk: toNear, seen: ended(wire.Other, wire.StepCompare), reason: requirement.Broken,
			expected: "the bytes that were sent to arrive unchanged", observed: "in its own words"},
		"the bytes changed on the way back": {talk: toNear, seen: seen(func(e *wire.Exchange) { e.Same = false }), reason: requirement.Broken,
			expected: "the bytes that were sent to come back", observed: "32 other bytes"},
		"bytes and no witness": {talk: toNear, seen: seen(func(e *wire.Exchange) { e.Witness = nil }), reason: requirement.Broken,
			expected: "the bytes that were sent to come back", observed: "32 other bytes"},

		"an unconnected socket answered from where it asked": {talk: with(func(t *Talk) { t.Unconnected = true }), seen: worked()},
		"an unconnected socket answered from elsewhere": {talk: with(func(t *Talk) { t.Unconnected, t.Dial = true, "10.96.0.1:80" }), seen: worked(),
			reason: requirement.Translated, expected: "an answer from 10.96.0.1:80 over tcp", observed: "one from the address 10.0.0.2:8080"},

		"silence": {talk: toNear, seen: ended(wire.TimedOut, "dial"), reason: requirement.NoAnswer,
			expected: "an answer from 10.0.0.2:8080 over tcp", observed: "timed out (in its own words) at dial"},
		"refusal":                               {talk: toNear, seen: ended(wire.Refused, "dial"), reason: requirement.Refused, observed: "refused (in its own words) at dial"},
		"no route":                              {talk: toNear, seen: ended(wire.Unreachable, "dial"), reason: requirement.Unreachable},
		"a reset":                               {talk: toNear, seen: ended(wire.Reset, "read"), reason: requirement.Broken, observed: "reset (in its own words) at read"},
		"no permission":                         {talk: toNear, seen: ended(wire.Denied, ""), reason: requirement.Denied, observed: "denied (in its own words) at some step"},
		"no socket at the path":                 {talk: toNear, seen: ended(wire.NotThere, "dial"), reason: requirement.NotShared},
		"silence is not judged as a wrong peer": {talk: with(func(t *Talk) { t.NoNAT, t.Unconnected = true, true }), seen: ended(wire.TimedOut, "read"), reason: requirement.NoAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			who, err := c.talk.answerers(t.Context())
			require.NoError(t, err)
			err = c.talk.judge(c.seen, who)
			if c.reason == "" {
				require.NoError(t, err)
				return
			}
			f := requirement.AsFailure(err)
			require.NotNil(t, f, "%v", err)
			require.Equal(t, c.reason, f.Reason)
			changed := c.reason == requirement.Broken && c.seen.Class != wire.Reset
			require.Equal(t, changed, f.Final == requirement.ChangedIsFinal, "no later attempt forgives it")
			if c.expected != "" {
				require.Equal(t, c.expected, f.Expected)
			}
			if c.observed != "" {
				require.Equal(t, c.observed, f.Observed)
			}
			require.Equal(t, []any{c.talk.From, c.talk.To, c.talk.Among, c.talk.Dial, "tcp"}, []any{f.From, f.To, f.Behind, f.Target, f.Protocol})
			require.Equal(t, "kubectl exec -n ns client -c c -- /agent dial tcp "+c.talk.Dial, f.Again)
		})
	}
}

// A Node's name may be another than the node's hostname, which is what an agent in its namespaces goes by.
func TestAHostNetworkPodAnswersByItsNodesHostname(t *testing.T) {
	host := func(hostname string) *requirement.End {
		agent := probe.New("fake", fakeagent.Answer(func(wire.Op, json.RawMessage) any { return wire.Identity{Hostname: hostname} }))
		t.Cleanup(func() { _ = agent.Close() })
		return &requirement.End{Agent: agent, Role: "host", Namespace: "ns", Pod: "host", Container: "c", Node: "node-2.example", HostNetwork: true}
	}
	outside := host("laptop")
	outside.Pod, outside.HostNetwork = "", false
	env := &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}, Attempt: time.Second}
	for name, c := range map[string]struct {
		talk     Talk
		answers  string
		expected string // of the failure; "" where it holds
	}{
		"the hostname":                {Talk{To: host("node-2")}, "node-2", ""},
		"the Node's name":             {Talk{To: host("node-2")}, "node-2.example", "an answer from 10.0.0.2:8080 over tcp by node-2"},
		"the pod's name":              {Talk{To: host("node-2")}, "host", "an answer from 10.0.0.2:8080 over tcp by node-2"},
		"one of several":              {Talk{Among: []*requirement.End{near, host("node-2")}}, "node-2", ""},
		"none of several":             {Talk{Among: []*requirement.End{near, host("node-2")}}, "node-2.example", "an answer from 10.0.0.2:8080 over tcp by one of the endpoints"},
		"a host outside":              {Talk{To: outside}, "laptop", ""},
		"another than a host outside": {Talk{To: outside}, "outside", "an answer from 10.0.0.2:8080 over tcp by laptop"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := worked()
			seen.Witness.Who = c.answers
			c.talk.From, c.talk.Network, c.talk.Dial = answering(t, wire.Connected{Seen: []wire.Exchange{seen}}), "tcp", "10.0.0.2:8080"
			for _, talks := range []func(context.Context, *requirement.Env, Talk) (wire.Exchange, error){Works, Again} {
				_, err := talks(t.Context(), env, c.talk)
				if c.expected == "" {
					require.NoError(t, err)
					continue
				}
				require.NotNil(t, requirement.AsFailure(err), "%v", err)
				require.Equal(t, requirement.WrongPeer, requirement.AsFailure(err).Reason)
				require.Equal(t, c.expected, requirement.AsFailure(err).Expected)
			}
		})
	}
}

// local is an end whose agent runs in this process and answers by this machine's name.
func local(t *testing.T) (*requirement.End, *requirement.Env) {
	dialer, stop, err := probe.Local("a key")
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	agent := probe.New(host, dialer)
	t.Cleanup(func() {
		_ = agent.Close() // it ends with its agent
		stop()
	})
	env := &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}, Family: corev1.IPv4Protocol, Attempt: 300 * time.Millisecond}
	return &requirement.End{Agent: agent, Role: "local"}, env
}

// freePort is an address of this machine where nobody listens.
func freePort(t *testing.T, end *requirement.End) string {
	server, err := end.Listen(t.Context(), wire.Listen{Network: "tcp", Address: "127.0.0.1:0"})
	require.NoError(t, err)
	require.True(t, server.Ok(), server.Errno)
	Release(t.Context(), end, server.Handle)
	return server.Local
}

func TestWorksAndRejectedByARealAgent(t *testing.T) {
	end, env := local(t)
	at := freePort(t, end)
	talk := Talk{From: end, To: end, Network: "tcp", Dial: at}

	require.NoError(t, Rejected(t.Context(), env, talk))
	_, err := Works(t.Context(), env, talk)
	require.Equal(t, requirement.Refused, requirement.AsFailure(err).Reason)

	opened := talk
	opened.Bind, opened.NoNAT = at, true
	seen, err := Works(t.Context(), env, opened)
	require.NoError(t, err)
	require.Equal(t, at, seen.Remote)
	require.NoError(t, Rejected(t.Context(), env, talk), "the server was closed again")

	opened.Behave = "flip"
	_, err = Works(t.Context(), env, opened)
	require.Equal(t, requirement.Broken, requirement.AsFailure(err).Reason)

	server, err := end.Listen(t.Context(), wire.Listen{Network: "tcp", Address: at})
	require.NoError(t, err)
	defer Release(t.Context(), end, server.Handle)
	require.Equal(t, requirement.Answered, requirement.AsFailure(Rejected(t.Context(), env, talk)).Reason)

	held, err := KeepOpen(t.Context(), env, talk)
	require.NoError(t, err)
	defer Release(t.Context(), end, held.Handle)
	talk.Reuse = held.Handle
	again, err := Again(t.Context(), env, talk)
	require.NoError(t, err)
	require.Equal(t, held.Local, again.Local, "it is the same connection")
}

func TestSilenceIsNoRejection(t *testing.T) {
	end, env := local(t)
	server, err := end.Listen(t.Context(), wire.Listen{Network: "udp", Address: "127.0.0.1:0", Behave: "accept-only"})
	require.NoError(t, err)
	require.True(t, server.Ok(), server.Errno)
	defer Release(t.Context(), end, server.Handle)
	talk := Talk{From: end, To: end, Network: "udp", Dial: server.Local}
	require.Equal(t, requirement.NoAnswer, requirement.AsFailure(Rejected(t.Context(), env, talk)).Reason)
	_, err = Works(t.Context(), env, talk)
	require.Equal(t, requirement.NoAnswer, requirement.AsFailure(err).Reason)
}

// answering is an end whose agent gives these observations, one a question, the last again and again.
func answering(t *testing.T, seen ...wire.Connected) *requirement.End {
	agent := probe.New("fake", fakeagent.Answer(func(op wire.Op, _ json.RawMessage) any {
		assert.Equal(t, wire.OpConnect, op)
		is := seen[0]
		if len(seen) > 1 {
			seen = seen[1:]
		}
		return is
	}))
	t.Cleanup(func() { _ = agent.Close() })
	return &requirement.End{Agent: agent, Role: "client", Namespace: "ns", Pod: "client", Container: "c"}
}

func TestWorksWithinThePatience(t *testing.T) {
	lost := wire.Connected{Seen: []wire.Exchange{{Errno: wire.Errno{Class: wire.TimedOut}, Step: "dial"}}}
	won := wire.Connected{Seen: []wire.Exchange{worked()}}
	env := &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}, Attempt: time.Second, Patience: time.Minute}
	talk := Talk{From: answering(t, lost, lost, won), To: near, Network: "tcp", Dial: "10.0.0.2:8080"}
	seen, err := Works(t.Context(), env, talk)
	require.NoError(t, err)
	require.Equal(t, "near", seen.Witness.Who)
	require.Len(t, env.Notes(), 1, "what settled late is noted")
	require.Contains(t, env.Notes()[0], "attempt 3")
	require.Len(t, env.LateHolds(), 1)
	require.Equal(t, 3, env.LateHolds()[0].Attempts)
	require.Contains(t, env.LateHolds()[0].First, "timed out", "what the first attempt saw is kept")

	env.Patience = 0
	talk.From = answering(t, lost, won)
	_, err = Works(t.Context(), env, talk)
	require.Equal(t, requirement.NoAnswer, requirement.AsFailure(err).Reason)
	require.Equal(t, 1, requirement.AsFailure(err).Attempts)
}

func TestWhatIsSteadyIsNotTriedAgain(t *testing.T) {
	changed, stranger := worked(), worked()
	changed.Errno, changed.Step, changed.Same = wire.Errno{Class: wire.Other, Text: "other bytes"}, wire.StepCompare, false
	stranger.Witness = &wire.Witness{Who: "stranger"}
	for name, c := range map[string]struct {
		first             wire.Exchange
		converging, green bool
		final             string
	}{
		"changed bytes":                         {first: changed, final: requirement.ChangedIsFinal},
		"changed bytes while it converges":      {first: changed, converging: true, final: requirement.ChangedIsFinal},
		"a wrong peer":                          {first: stranger, final: requirement.PeerIsFinal},
		"a peer of before, while it converges":  {first: stranger, converging: true, green: true},
		"silence":                               {first: wire.Exchange{Errno: wire.Errno{Class: wire.TimedOut}, Step: "read"}, green: true},
		"a reset, which may be a pod's restart": {first: wire.Exchange{Errno: wire.Errno{Class: wire.Reset}, Step: "read"}, green: true},
	} {
		t.Run(name, func(t *testing.T) {
			env := &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}, Attempt: time.Second, Patience: time.Minute}
			won := wire.Connected{Seen: []wire.Exchange{worked()}}
			again := wire.Connected{Seen: []wire.Exchange{c.first}}
			_, err := Works(t.Context(), env, Talk{From: answering(t, again, won, again, won), To: near, Network: "tcp", Dial: "10.0.0.2:8080", Converging: c.converging})
			if c.green {
				require.NoError(t, err)
				return
			}
			f := requirement.AsFailure(err)
			require.NotNil(t, f)
			require.Equal(t, c.final, f.Final)
			require.Contains(t, f.Observed, "(2 of 20 attempts ended so)", "it is said how often")
			require.Equal(t, 20, f.Attempts)
		})
	}
}

func TestAnAnswerIsNoRefusal(t *testing.T) {
	answered, refused := wire.Connected{Seen: []wire.Exchange{worked()}}, wire.Connected{Seen: []wire.Exchange{{Errno: wire.Errno{Class: wire.Refused}, Step: "dial"}}}
	env := &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}, Attempt: time.Second, Patience: time.Minute}
	talk := Talk{From: answering(t, answered, refused), Network: "tcp", Dial: "10.0.0.2:8080"}
	f := requirement.AsFailure(Rejected(t.Context(), env, talk))
	require.NotNil(t, f)
	require.Equal(t, []any{requirement.Answered, requirement.AnswerIsFinal, 1}, []any{f.Reason, f.Final, f.Attempts})

	talk.From, talk.Converging = answering(t, answered, refused), true
	require.NoError(t, Rejected(t.Context(), env, talk))
}

func TestRejected(t *testing.T) {
	for name, c := range map[string]struct {
		seen   wire.Errno
		reason requirement.Reason // of the failure; "" is none
		noted  bool
	}{
		"refused":               {wire.Errno{Class: wire.Refused}, "", false},
		"prohibited by a rule":  {wire.Errno{Class: wire.Unreachable, Text: "no route to host"}, "", true},
		"denied in connect(2)":  {wire.Errno{Class: wire.Denied, Text: "operation not permitted"}, "", true},
		"reset":                 {wire.Errno{Class: wire.Reset}, "", true},
		"silence":               {wire.Errno{Class: wire.TimedOut}, requirement.NoAnswer, false},
		"an answer":             {wire.Errno{}, requirement.Answered, false},
		"something of this end": {wire.Errno{Class: wire.InUse}, requirement.Broken, false},
	} {
		t.Run(name, func(t *testing.T) {
			q := requirement.Requirement{ID: "service/x"}
			env := &requirement.Env{Requirement: &q, Attempt: time.Second}
			err := Rejected(t.Context(), env, Talk{From: answering(t, wire.Connected{Seen: []wire.Exchange{{Errno: c.seen}}}), Network: "tcp", Dial: "10.96.0.9:80"})
			if c.reason == "" {
				require.NoError(t, err)
			} else {
				require.Equal(t, c.reason, requirement.AsFailure(err).Reason)
			}
			require.Equal(t, c.noted, len(env.Notes()) == 1)
		})
	}
}

func TestOnceJudgesNothing(t *testing.T) {
	env := &requirement.Env{Requirement: &requirement.Requirement{ID: "a/b"}, Attempt: time.Second}
	lost := wire.Exchange{Errno: wire.Errno{Class: wire.Refused}, Step: "dial"}
	seen, err := Once(t.Context(), env, Talk{From: answering(t, wire.Connected{Seen: []wire.Exchange{lost}}), Network: "tcp", Dial: "10.0.0.2:8080"})
	require.NoError(t, err)
	require.Equal(t, lost, seen)

	_, err = Once(t.Context(), env, Talk{From: answering(t, wire.Connected{}), Network: "tcp", Dial: "10.0.0.2:8080"})
	require.ErrorContains(t, err, "dialled 10.0.0.2:8080 once and reports 0 attempts")
	require.Nil(t, requirement.AsFailure(err), "a channel that breaks is nobody's failure")
}

func TestAddrAndPort(t *testing.T) {
	for text, is := range map[string]struct {
		addr string
		port int
	}{
		"10.0.0.1:80":          {"10.0.0.1", 80},
		"[::ffff:10.0.0.1]:80": {"10.0.0.1", 80},
		"[fe80::1%eth0]:53":    {"fe80::1", 53},
		"/run/a.sock":          {"invalid IP", 0},
		"":                     {"invalid IP", 0},
	} {
		require.Equal(t, is.addr, Addr(text).String(), text)
		require.Equal(t, is.port, Port(text), text)
	}
}
