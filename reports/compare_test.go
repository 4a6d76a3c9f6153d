package reports

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// row is a requirement's outcome on each of two clusters: p, f, w (a SHOULD that failed), u, e, s, n (not asked), or - for none. After
// each may stand an outcome per family: "p4p6f".
func row(id, a, b string) (rows [2]*Result) {
	for i, code := range []string{a, b} {
		if code == "-" {
			continue
		}
		outcome := map[byte]Outcome{'p': Passed, 'f': Failed, 'w': Failed, 'u': Unsupported, 'e': Errored, 's': Skipped, 'n': Skipped}
		res := &Result{ID: id, Chapter: "c", Level: Must, Outcome: outcome[code[0]]}
		if res.Outcome != Passed {
			res.Reason = "because of " + code
		}
		if code[0] == 'w' {
			res.Level = Should
		}
		res.NotAsked = code[0] == 'n'
		for rest := code[1:]; rest != ""; rest = rest[2:] {
			res.Verdicts = append(res.Verdicts, Verdict{Family: "IPv" + rest[:1], Outcome: outcome[rest[1]]})
		}
		rows[i] = res
	}
	return rows
}

func reportOf(rows ...[2]*Result) *Report {
	r := New("1a-2b", began)
	r.Clusters = []Cluster{{Name: "iptables"}, {Name: "nftables"}}
	for _, pair := range rows {
		for i, res := range pair {
			if res != nil {
				r.Clusters[i].Results = append(r.Clusters[i].Results, *res)
			}
		}
	}
	return r
}

func TestKindsOfDifferences(t *testing.T) {
	for _, c := range []struct {
		a, b string
		kind DifferenceKind
		lost bool
	}{
		{"p", "p", "", false}, {"f", "f", "", false}, {"u", "u", "", false}, {"e", "e", "", false}, {"s", "s", "", false},
		{"p", "f", DiffersInHolding, true},
		{"f", "p", DiffersInHolding, false},
		{"p", "w", DiffersInHolding, true}, // the level is the first's
		{"w", "p", DiffersInHolding, false},
		{"p", "u", DiffersInSupport, true},
		{"u", "p", DiffersInSupport, false},
		{"f", "u", DiffersInSupport, false},
		{"p", "e", DiffersInJudging, false},
		{"f", "e", DiffersInJudging, false},
		{"u", "e", DiffersInJudging, false},
		{"p", "s", DiffersInChoice, false},
		{"p", "n", "", false}, {"n", "f", "", false}, {"n", "n", "", false}, {"n", "p4p6f", "", false},
		{"u", "s", DiffersInChoice, false},
		{"p", "-", DiffersInChoice, false},
		{"-", "p", DiffersInChoice, false},
		{"p4p", "p4p6p", "", false}, // a family that a cluster has not is not asked for
		{"p4p", "p6p", "", false},
		{"f4f6p", "f4p6f", DiffersInHolding, true},
		{"f4f6p", "f4f", "", false},
		{"p4p6u", "p4p6p", DiffersInSupport, false},
		{"p4p6p", "p4p6u", DiffersInSupport, true},
	} {
		t.Run(c.a+" "+c.b, func(t *testing.T) {
			got := Compare(reportOf(row("c/x", c.a, c.b)))
			if c.kind == "" {
				require.Empty(t, got.Differences)
				return
			}
			require.Len(t, got.Differences, 1)
			require.Equal(t, c.kind, got.Differences[0].Kind)
			lost, unjudged := got.Regressions()
			require.Equal(t, c.lost, len(lost) == 1)
			require.Equal(t, c.a == "p" && c.b == "e", len(unjudged) == 1)
		})
	}
}

func TestReasonsOfDifferences(t *testing.T) {
	entry := func(where, expires, why string) Known {
		return Known{ID: "c/x", Where: where, Link: "https://example.org/" + where, Why: why, Expires: expires}
	}
	const later, before = "2027-01-31", "2026-02-01" // than the run began
	for name, c := range map[string]struct {
		a, b, level string
		known       []Known
		want        []string
		unknown     []string
	}{
		"nobody says why":               {a: "p", b: "f", want: []string{noReason}, unknown: []string{"nftables"}},
		"the first fails":               {a: "f", b: "p", want: []string{noReason}, unknown: []string{"iptables"}},
		"it lacks it":                   {a: "p", b: "u", want: []string{noReason}, unknown: []string{"nftables"}},
		"it lacks what is OPTIONAL":     {a: "p", b: "u", level: Optional},
		"OPTIONAL, and it fails":        {a: "p", b: "f", level: Optional, want: []string{noReason}, unknown: []string{"nftables"}},
		"not judged says why itself":    {a: "p", b: "e"},
		"left out says why itself":      {a: "p", b: "s"},
		"no difference":                 {a: "f", b: "f", known: []Known{entry("nftables", later, "")}},
		"documented":                    {a: "p", b: "f", known: []Known{entry("nftables", later, "so it is")}, want: []string{"known on nftables until 2027-01-31 (https://example.org/nftables), so it is"}},
		"documented without a sentence": {a: "u", b: "p", known: []Known{entry("iptables", later, "")}, want: []string{"known on iptables until 2027-01-31 (https://example.org/iptables)"}},
		"documented of another column":  {a: "p", b: "f", known: []Known{entry("iptables", later, "")}, want: []string{noReason}, unknown: []string{"nftables"}},
		"expired":                       {a: "p", b: "f", known: []Known{entry("nftables", before, "so it is")}, want: []string{"expired, so it counts again: on nftables until 2026-02-01 (https://example.org/nftables), so it is"}},
		"one of two":                    {a: "f", b: "u", known: []Known{entry("nftables", later, "")}, want: []string{"known on nftables until 2027-01-31 (https://example.org/nftables)", "on iptables " + noReason}, unknown: []string{"iptables"}},
		"both by one entry":             {a: "f", b: "u", known: []Known{entry("v1.36.3", later, "")}, want: []string{"known on v1.36.3 until 2027-01-31 (https://example.org/v1.36.3)"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := reportOf(row("c/x", c.a, c.b))
			for i := range r.Clusters {
				r.Clusters[i].Facts = []Fact{{"Kubernetes", "v1.36.3"}}
				if c.level != "" {
					r.Clusters[i].Results[0].Level = c.level
				}
			}
			r.MarkKnown(c.known, began)
			got := Compare(r)
			if c.a == c.b {
				require.Empty(t, got.Differences)
				return
			}
			d := got.Differences[0]
			require.Equal(t, c.want, d.sentences())
			require.Equal(t, c.unknown, d.Unknown)
			require.Equal(t, len(c.unknown) > 0, d.Unexplained)
			lost, _ := got.Regressions()
			require.Equal(t, c.a == "p" && (c.b == "f" || c.b == "u") && c.level == "" && name != "documented", len(lost) == 1, "only what is accepted is not lost")
		})
	}
}

func TestTitlesOfDifferences(t *testing.T) {
	titles := func(r *Report) (all []string) {
		c := Compare(r)
		for _, d := range c.Differences {
			all = append(all, d.ID+": "+sentenceCase(c.title(d, strings.ToLower)))
		}
		return all
	}
	r := reportOf(row("c/won", "f", "p"), row("c/lost", "p", "f"), row("c/gone", "p", "u"), row("c/mixed", "f4f6p", "f4p6f"), row("c/quiet", "e", "p"))
	require.Equal(t, []string{
		"c/lost: Holds on iptables, not on nftables", "c/won: Holds on nftables, not on iptables", "c/mixed: Holds on some only",
		"c/gone: Is supported on iptables, not on nftables", "c/quiet: Judged on some only",
	}, titles(r))
	r.Clusters = append(r.Clusters, Cluster{Name: "ipvs"})
	require.Contains(t, titles(r), "c/lost: Holds on some only", "three columns have no two sides")
}

func TestCellsTellWhetherAGreenCanFail(t *testing.T) {
	pair := row("c/x", "p", "f")
	pair[0].Proof, pair[0].Notes = &Proof{State: Proved}, []string{"the server saw 10.244.1.5"}
	got := Compare(reportOf(pair)).Differences[0]
	require.Equal(t, "passed, proved: the server saw 10.244.1.5", got.Cells[0].text(got.Kind))
	pair = row("c/x", "p", "p")
	pair[0].Proof, pair[1].Proof = &Proof{State: Proved}, &Proof{State: Unproved, Reason: "no point acted"}
	got = Compare(reportOf(pair)).Differences[0]
	require.Equal(t, "passed, unproved: no point acted", got.Cells[1].text(got.Kind))
}

func TestDifferencesInProof(t *testing.T) {
	pair := row("c/x", "p", "p")
	pair[0].Proof, pair[1].Proof = &Proof{State: Proved}, &Proof{State: Unproved}
	got := Compare(reportOf(pair))
	require.Equal(t, DiffersInProof, got.Differences[0].Kind)
	require.Equal(t, 1, got.Same.Passed)
	pair[1].Proof.State = ProofNotRun
	require.Empty(t, Compare(reportOf(pair)).Differences)
}

func exampleMatrix() *Report {
	lost, drawn := row("c/lost", "p", "f"), row("c/known", "p", "f")
	lost[1].Failure = natFailure()
	lost[1].Reason = ""
	drawn[1].Title = "a title with | and *"
	r := reportOf(row("c/same", "p", "p"), row("c/support", "u", "p"), lost, drawn, row("c/broken", "f", "f"),
		row("c/quiet", "e", "p"), row("c/left", "s", "s"), row("c/e1", "e", "e"), row("c/e2", "e", "e"))
	r.Clusters[0].Values, r.Clusters[1].Values = []string{"iptables"}, []string{"nftables"}
	r.Clusters[0].Facts = []Fact{{"Kubernetes", "v1.36.3"}, {"proxy mode", "iptables"}}
	r.Clusters[1].Facts = []Fact{{"Kubernetes", "v1.36.3"}, {"proxy mode", "nftables"}}
	for i, took := range []time.Duration{90 * time.Millisecond, 300 * time.Millisecond} {
		r.Clusters[i].Results[0].Converged = []Converged{{What: "an endpoint turns ready", Samples: []ConvergedSample{
			{Node: "worker", FirstRight: took, LastWrong: took}, {Node: "worker2", FirstRight: took, LastWrong: 2 * took}}}}
		r.Clusters[i].Paths = []Path{{Name: "ClusterIP", Rounds: 3, LatencyP50: Times{took / 1000, took / 1100, took / 900}}}
	}
	r.Ended = began.Add(4 * time.Minute)
	r.NotRun = []NotRun{{"ipvs", "this kernel has none"}}
	r.MarkKnown([]Known{{ID: "c/known", Where: "nftables", Link: "https://example.org/7", Expires: "2027-01-31", Why: "so it is"},
		{ID: "c/gone", Where: "nftables", Link: "https://example.org/8", Expires: "2027-01-31"}}, began)
	r.MarkWarnings(false)
	return r
}

func TestComparisonWriters(t *testing.T) {
	c := Compare(exampleMatrix())
	for name, write := range map[string]func(io.Writer) error{
		"matrix.txt":  func(w io.Writer) error { return WriteComparison(w, c, false) },
		"matrix.md":   func(w io.Writer) error { return WriteComparisonMarkdown(w, c) },
		"matrix.json": func(w io.Writer) error { return WriteComparisonJSON(w, c) },
		"matrix.yaml": func(w io.Writer) error { return WriteComparisonYAML(w, c) },
	} {
		var b bytes.Buffer
		require.NoError(t, write(&b))
		golden(t, name, b.Bytes())
	}
	lost, _ := c.Regressions()
	require.Len(t, lost, 1, "a known difference is not counted")
}

func TestJUnitOfAMatrix(t *testing.T) {
	r := exampleMatrix()
	r.Clusters[1].Interrupted = "its process was killed"
	doc := written(t, WriteJUnit, r)
	require.NoError(t, checkJUnit(doc))
	for _, want := range []string{`<testsuite name="iptables/c"`, `<testsuite name="nftables/c"`, `classname="parley.nftables.c" name="c/lost"`,
		`name="run/complete/nftables"`, `name="run/made/ipvs"`, `<skipped type="not run" message="not run: this kernel has none">`} {
		require.Contains(t, string(doc), want)
	}
	require.Equal(t, ExitFailed, r.ExitCode(false))
}

func TestAnInterruptedClusterIsNotJudged(t *testing.T) {
	r := reportOf(row("c/x", "p", "p"))
	require.Equal(t, ExitPassed, r.ExitCode(false))
	r.Clusters[1].Interrupted = "its process was killed"
	require.Equal(t, ExitUnjudged, r.ExitCode(false))
}

func TestSaveMatrixAndForget(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, SaveMatrix(dir, exampleMatrix()))
	require.FileExists(t, dir+"/matrix.md")
	require.NoError(t, Forget(dir))
	require.NoFileExists(t, dir+"/matrix.md")
	require.NoFileExists(t, dir+"/report.json")
	require.NoError(t, Forget(dir+"/nobody"))
}

// FuzzComparison puts any bytes where text of a cluster goes: no writer lets through what steers a terminal, and each
// row of a Markdown table has the columns of its head.
func FuzzComparison(f *testing.F) {
	f.Add("plain", "x")
	f.Add("|`<\\\n\x1b\xff", "\n|")
	f.Fuzz(func(t *testing.T, s, name string) {
		r := reportOf(row("c/x", "p", "f"))
		r.Clusters[0].Name, r.Clusters[1].Name, r.Clusters[1].Results[0].Reason = name, name+"2", s
		r.Clusters[1].Results[0].Title, r.NotRun, r.Notices = s, []NotRun{{s, s}}, []string{s}
		c := Compare(r)
		var text, md bytes.Buffer
		require.NoError(t, WriteComparison(&text, c, false))
		require.NoError(t, WriteComparisonMarkdown(&md, c))
		require.NotContains(t, text.String()+md.String(), "\x1b")
		for line := range strings.Lines(md.String()) {
			if strings.HasPrefix(line, "| **c/x**") {
				bare := strings.NewReplacer(`\\`, "", `\|`, "").Replace(line)
				require.Equal(t, 6, strings.Count(bare, "|"), "%q", line)
			}
		}
	})
}

// What one column alone was asked counts, and is told of, by that column.
func TestOneColumnAsked(t *testing.T) {
	c := Compare(reportOf(row("c/a", "n", "p"), row("c/b", "n", "f"), row("c/c", "p", "p")))
	require.Empty(t, c.Differences)
	require.Equal(t, Counts{Passed: 2, Failed: 1}, c.Same)
	require.Len(t, c.Everywhere, 1)
	var b bytes.Buffer
	require.NoError(t, WriteComparison(&b, c, false))
	require.Contains(t, b.String(), "nftables: because of f")
}
