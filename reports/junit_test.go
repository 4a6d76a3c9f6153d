package reports

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestJUnit(t *testing.T) {
	doc := written(t, WriteJUnit, exampleReport())
	require.NoError(t, checkJUnit(doc))
	golden(t, "junit.xml", doc)
}

func TestJUnitOfSeveralClustersCutShort(t *testing.T) {
	r := exampleReport()
	r.Ended = began.Add(-time.Hour) // the clock was set back
	r.Interrupted = "a signal: interrupt"
	second := r.Clusters[0]
	second.Name = "kind.v6"
	r.Clusters = append(r.Clusters, second, Cluster{})
	doc := written(t, WriteJUnit, r)
	require.NoError(t, checkJUnit(doc))
	require.Contains(t, string(doc), `classname="parley.kind-parley.pod"`)
	require.Contains(t, string(doc), `classname="parley.kind-v6.pod"`)
	require.Contains(t, string(doc), `<error type="interrupted" message="a signal: interrupt">`)

	var got junitSuites
	require.NoError(t, xml.Unmarshal(doc, &got))
	require.Len(t, got.Suites, 9)
	require.Equal(t, 19, got.Tests)
	require.Equal(t, 4, got.Failures, "two failures and two refuted proofs")
	require.Equal(t, 3, got.Errors)
	names := map[string]bool{}
	for i, s := range got.Suites {
		require.Equal(t, i, s.ID)
		for _, c := range s.Cases {
			require.False(t, names[c.Class+c.Name], "%s %s is there twice", c.Class, c.Name)
			names[c.Class+c.Name] = true
		}
	}
}

func TestJUnitOfNothing(t *testing.T) {
	require.NoError(t, checkJUnit(written(t, WriteJUnit, New("", time.Time{}))))
}

// The check would be worth nothing if it took everything.
func TestCheckOfJUnitCanFail(t *testing.T) {
	doc := string(written(t, WriteJUnit, exampleReport()))
	for _, c := range []struct{ old, new, want string }{
		{`<testsuites `, `<testsuites skipped="1" `, "no attribute skipped"},
		{`<testcase `, `<testcase status="run" `, "no attribute status"},
		{` errors="0"`, ``, "lacks errors"},
		{` value="v1.36.3"`, ``, "lacks value"},
		{`<system-out>`, `<properties></properties><system-out>`, "<testcase> may not hold"},
		{`<properties>`, `text<properties>`, "text where none may be"},
		{`time="151.000"`, `time="151s"`, "is no time"},
		{`</testsuites>`, ``, "unexpected EOF"},
		{`<system-out>`, `<system-out><b></b>`, "unknown element <b>"},
		{`<system-out>`, "<system-out>\x01", "illegal character"},
		{`<system-out>`, "<system-out>\xff", "invalid UTF-8"},
	} {
		require.Contains(t, doc, c.old)
		require.ErrorContains(t, checkJUnit([]byte(strings.Replace(doc, c.old, c.new, 1))), c.want)
	}
}

// FuzzJUnit puts any bytes where text of a network or a cluster goes.
func FuzzJUnit(f *testing.F) {
	f.Add("plain", int64(1), int64(0))
	f.Add("]]>&<\"'\x00\x1b\xff\ufffe\r\n", int64(-1), int64(1)<<60)
	f.Fuzz(func(t *testing.T, s string, took, at int64) {
		for _, o := range append(outcomes, Outcome(s)) {
			d, when := time.Duration(took), time.Unix(0, at)
			r := New(s, when)
			r.Host, r.Interrupted, r.Ended = s, s, when.Add(d)
			r.Clusters = []Cluster{{Name: s, Facts: []Fact{{s, s}}, Results: []Result{
				{ID: s, Title: s, Chapter: s, Level: s, Clause: Clause{s, s}, Outcome: o, Started: when, Took: d,
					Failure: &Failure{From: s, Observed: s, Again: s, Took: d}, Verdicts: []Verdict{{s, o, s}},
					Proof: &Proof{State: ProofState(s), How: s, Point: s, Red: s, Reason: s, Took: d},
					Notes: []string{s}},
				{ID: "b", Level: Should, Outcome: o, Reason: s, Warning: true},
			}}}
			doc := written(t, WriteJUnit, r)
			require.NoError(t, checkJUnit(doc))
			require.False(t, bytes.ContainsAny(doc, "\x00\x1b"))
			require.Regexp(t, `timestamp="-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d"`, string(doc))
		}
	})
}
