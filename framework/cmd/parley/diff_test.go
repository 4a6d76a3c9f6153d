package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/reports"
)

// saved writes a report of one cluster with the outcomes of pod/a, pod/b, ... into a folder of its own.
func saved(t *testing.T, name string, outcomes ...reports.Outcome) string {
	t.Helper()
	r := reports.New("1a-2b", time.Now())
	c := reports.Cluster{Name: "parley-1a-2b", Facts: []reports.Fact{{Name: "proxy mode", Value: name}}}
	for i, o := range outcomes {
		level := reports.Must
		if o == "" {
			o, level = reports.Failed, reports.Should
		}
		res := reports.Result{ID: "pod/" + string(rune('a'+i)), Chapter: "pod", Level: level, Outcome: o}
		if o != reports.Passed {
			res.Reason = "seen to be " + string(o)
		}
		c.Results = append(c.Results, res)
	}
	r.Clusters = []reports.Cluster{c}
	dir := filepath.Join(t.TempDir(), name)
	require.NoError(t, reports.Save(dir, r))
	return dir
}

func TestDiff(t *testing.T) {
	known := filepath.Join(t.TempDir(), "known.yaml")
	require.NoError(t, os.WriteFile(known, []byte("- {id: pod/b, where: nftables, link: https://example.org/7, expires: 9999-12-31}\n"), 0o644))
	const p, f, u, e, s = reports.Passed, reports.Failed, reports.Unsupported, reports.Errored, reports.Skipped
	for name, c := range map[string]struct {
		a, b []reports.Outcome
		args []string
		exit int
		says string
	}{
		"the same":            {[]reports.Outcome{p, p}, []reports.Outcome{p, p}, nil, 0, "2 clusters, 0 differences; the same on all: 2 passed of 2"},
		"lost":                {[]reports.Outcome{p, p}, []reports.Outcome{p, f}, nil, 1, "    nftables  FAILED: seen to be failed\n"},
		"of unknown reason":   {[]reports.Outcome{p, p}, []reports.Outcome{p, f}, nil, 1, "    reason    unknown: no documented reason is known\n"},
		"of another's reason": {[]reports.Outcome{p, f}, []reports.Outcome{p, p}, []string{"--known", known}, 0, "unknown: no documented reason is known"},
		"a reason as JSON":    {[]reports.Outcome{p, p}, []reports.Outcome{p, f}, []string{"--known", known, "-o", "json"}, 0, `"link": "https://example.org/7"`},
		"a reason as YAML":    {[]reports.Outcome{p, p}, []reports.Outcome{p, f}, []string{"--known", known, "-o", "yaml"}, 0, "reasons:\n"},
		"won":                 {[]reports.Outcome{p, f}, []reports.Outcome{p, p}, nil, 0, "HOLDS ON nftables, NOT ON iptables\n"},
		"no longer there":     {[]reports.Outcome{p, p}, []reports.Outcome{p, u}, nil, 1, "IS SUPPORTED ON iptables, NOT ON nftables\n"},
		"not judged":          {[]reports.Outcome{p, p}, []reports.Outcome{p, e}, nil, 2, "JUDGED ON SOME ONLY"},
		"lost and unjudged":   {[]reports.Outcome{p, p, p}, []reports.Outcome{f, e, p}, nil, 1, ""},
		"left out":            {[]reports.Outcome{p, p}, []reports.Outcome{p, s}, nil, 0, "CHOSEN ON SOME ONLY"},
		"only a SHOULD":       {[]reports.Outcome{p, ""}, []reports.Outcome{p, ""}, nil, 0, "1 warning"},
		"a known difference":  {[]reports.Outcome{p, p}, []reports.Outcome{p, f}, []string{"--known", known}, 0, "known on nftables until 9999-12-31 (https://example.org/7)"},
		"nothing in common":   {[]reports.Outcome{s}, []reports.Outcome{p}, nil, 2, "CHOSEN"},
		"as JSON":             {[]reports.Outcome{p}, []reports.Outcome{f}, []string{"-o", "json"}, 1, `"kind": "holds"`},
		"as YAML":             {[]reports.Outcome{p}, []reports.Outcome{f}, []string{"-o", "yaml"}, 1, "kind: holds"},
		"as Markdown":         {[]reports.Outcome{p}, []reports.Outcome{f}, []string{"-o", "markdown"}, 1, "| **pod/a**"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := saved(t, "iptables", c.a...), saved(t, "nftables", c.b...)
			var out, errOut bytes.Buffer
			args := append([]string{"diff", a, filepath.Join(b, reports.JSONFile)}, c.args...)
			require.Equal(t, c.exit, run(t.Context(), args, &out, &errOut), errOut.String())
			require.Contains(t, out.String(), c.says)
			require.Equal(t, name == "nothing in common", errOut.Len() > 0, errOut.String())
		})
	}
}

func TestDiffRefuses(t *testing.T) {
	good := saved(t, "iptables", reports.Passed)
	several := filepath.Join(t.TempDir(), "several")
	r := reports.New("1a-2b", time.Now())
	r.Clusters = []reports.Cluster{{Name: "a"}, {Name: "b"}}
	require.NoError(t, reports.Save(several, r))
	garbage := filepath.Join(t.TempDir(), "garbage.json")
	require.NoError(t, os.WriteFile(garbage, []byte("{}"), 0o644))
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"diff", good}, "takes two report folders or files, and was given 1"},
		{[]string{"diff", good, "/nowhere"}, "parley: /nowhere: there is no report: name a report folder, or its report.json\n"},
		{[]string{"diff", good, t.TempDir()}, "there is no report"},
		{[]string{"diff", several, good}, "the report is of 2 clusters: name the folder of one of them"},
		{[]string{"diff", good, garbage}, `garbage.json: reading the report: it is "" of "", not a ConformanceReport`},
		{[]string{"diff", good, good, "--known", "/nowhere"}, "--known: open /nowhere"},
		{[]string{"diff", good, good, "--known", garbage}, "no list of entries"},
		{[]string{"diff", good, good, "-o", "xml"}, "-o xml: the forms of `parley diff` are text, json, yaml, markdown"},
	} {
		var out, errOut bytes.Buffer
		require.Equal(t, 2, run(t.Context(), c.args, &out, &errOut))
		require.Contains(t, errOut.String(), c.says)
		require.Empty(t, out.String())
	}
}
