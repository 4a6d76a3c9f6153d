package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/handler"
	"github.com/parley-k8s/parley/framework/internal/knowndiff"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
	"github.com/parley-k8s/parley/tests"
)

// parley runs a command line within this process.
func parley(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	t.Setenv("PARLEY_ENGINE", "") // restored afterwards: --engine sets it
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestListJSONIsWhatRuns(t *testing.T) {
	code, out, errOut := parley(t, "list", "-o", "json")
	require.Equal(t, reports.ExitPassed, code, errOut)

	// The documented form, read by its names.
	type control struct {
		Kind, Says  *string
		Red, Points []string
		Alone       *bool
	}
	var listed []struct {
		ID, Title, Level, Chapter *string
		Clause                    *struct{ URL, Says *string }
		Features                  []string
		Control                   *control
		MoreControls              []control
	}
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&listed))
	var keys []map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(out), &keys))
	delete(keys[0], "moreControls") // only where there are some
	require.ElementsMatch(t, []string{"id", "title", "level", "chapter", "clause", "features", "control"}, slices.Collect(maps.Keys(keys[0])))
	all := tests.All()
	require.Len(t, listed, len(all))
	for i, r := range all {
		l := listed[i]
		require.Equal(t, r.ID, *l.ID)
		require.Equal(t, r.Title, *l.Title)
		require.Equal(t, string(r.Level), *l.Level)
		require.Equal(t, r.Chapter(), *l.Chapter)
		require.Equal(t, r.Clause.URL, *l.Clause.URL)
		require.Equal(t, r.Clause.Says, *l.Clause.Says)
		require.NotNil(t, l.Features, r.ID)
		require.Len(t, l.Features, len(r.Needs))
		require.Len(t, l.MoreControls, len(r.MoreControls), r.ID)
		for n, c := range append([]control{*l.Control}, l.MoreControls...) {
			of := r.Controls()[n]
			require.Equal(t, of.Kind(), *c.Kind)
			require.Equal(t, of.Says, *c.Says)
			require.Len(t, c.Red, len(of.Red))
			require.NotNil(t, c.Points, r.ID)
			require.Equal(t, of.Alone, *c.Alone)
		}
	}
}

func TestListSelects(t *testing.T) {
	code, out, errOut := parley(t, "list", "dns", "service/hairpin,pod/own-ip")
	require.Equal(t, reports.ExitPassed, code, errOut)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Regexp(t, `^ID +LEVEL +TITLE$`, lines[0])
	for _, line := range lines[1:] {
		require.Regexp(t, `^(dns/[a-z-]+|service/hairpin|pod/own-ip) +(MUST|SHOULD|OPTIONAL) +\S.*\.$`, line)
	}
	require.Contains(t, out, "dns/nxdomain")

	code, out, errOut = parley(t, "list", "--help")
	require.Equal(t, reports.ExitPassed, code, errOut)
	for _, c := range tests.Chapters() {
		require.Regexp(t, `(?m)^  `+c.Name+` +`+c.Says+`$`, out)
	}

	code, out, errOut = parley(t, "list", "-o", "wide", "dns/nxdomain")
	require.Equal(t, reports.ExitPassed, code, errOut)
	require.Contains(t, out, "CONTROL")
	require.Contains(t, out, "https://")
}

func TestEveryRequirementIsExplained(t *testing.T) {
	says := map[string]string{}
	for _, c := range tests.Chapters() {
		says[c.Name] = c.Says
	}
	for _, r := range tests.All() {
		code, out, errOut := parley(t, "explain", r.ID)
		require.Equal(t, reports.ExitPassed, code, errOut)
		flat := strings.Join(strings.Fields(out), " ")
		for _, part := range []string{r.ID, r.Title, string(r.Level), says[r.Chapter()], r.Clause.URL, r.Clause.Says, r.Why, string(r.Roles[0])} {
			require.Contains(t, flat, strings.Join(strings.Fields(part), " "), r.ID)
		}
		for _, c := range r.Controls() {
			require.Contains(t, flat, strings.Join(strings.Fields(c.Says), " "), r.ID)
			require.Contains(t, flat, string(c.Red[0]), r.ID)
		}
	}
}

func TestBadInputIsOneSentence(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"nix", `"nix" is no verb of parley; see ` + "`parley --help`"},
		{"lst", "did you mean list?"},
		{"image pus", `"pus" is no verb of parley image (did you mean push?)`},
		{"--nix", "unknown flag: --nix; see `parley --help`"},
		{"list --nix", "unknown flag: --nix; see `parley list --help`"},
		{"list -o yaml", "-o yaml: the forms of `parley list` are table, wide, json"},
		{"list nix", `"nix" names no requirement`},
		{"list pod/[", `"pod/[" is not a pattern`},
		{"explain", "takes the ID of one requirement, and was given 0"},
		{"explain hairpin", "did you mean service/hairpin?"},
		{"explain nix/nix", `no requirement has the ID "nix/nix"; `},
		{"doctor -o yaml", "-o yaml: the forms of `parley doctor` are text, json"},
		{"doctor now", "takes no arguments, and was given 1"},
		{"--engine nix doctor", `"nix" is no engine that Parley knows`},
		{"node-image plan --engine nix", `"nix" is no engine that Parley knows`},
		{"node-image build --offline kindest/node", "takes no reference"},
		{"node-image plan --runtime rkt", "choose of containerd, crio, docker"},
		{"image save", "takes one file, and was given 0"},
		{"image save --arch s390x x.tar", "--arch s390x: the agent is built for amd64 and arm64"},
		{"image save --arch= x.tar", "names no architecture"},
		{"image save /nix/agent.tar", "there is no folder /nix"},
		{"image save /dev/null", "is no ordinary file"},
		{"image push", "takes one reference"},
		{"image push agent", "names no registry"},
		{"image push localhost:5000", "names no registry"},
		{"image push Up/Case", `"Up/Case" is no reference`},
		{"image push ghcr.io/a/b@sha256:" + strings.Repeat("0", 64), "has a digest"},
		{"version 2", "takes no arguments"},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, _, errOut := parley(t, strings.Fields(c.args)...)
			require.Equal(t, reports.ExitUnjudged, code)
			require.Equal(t, 1, strings.Count(errOut, "\n"), errOut)
			require.True(t, strings.HasPrefix(errOut, "parley: "), errOut)
			require.Contains(t, errOut, c.says)
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range []string{"", "--help", "image", "node-image", "list --help"} {
		code, out, errOut := parley(t, strings.Fields(args)...)
		require.Equal(t, reports.ExitPassed, code, errOut)
		require.Contains(t, out, "Usage:")
	}
	code, out, errOut := parley(t, "version")
	require.Equal(t, reports.ExitPassed, code, errOut)
	require.Regexp(t, `^parley \S+.* \(go`, out)
}

// What is known to differ is there, and is asked under a handler where it is of one.
func TestKnownDifferencesAreOfRequirements(t *testing.T) {
	judged := map[string]requirement.Judged{}
	for _, c := range tests.Chapters() {
		for _, q := range c.Requirements {
			judged[q.ID] = c.Judged
		}
	}
	var handlers []string
	for _, h := range handler.All() {
		handlers = append(handlers, h.Name)
	}
	all, err := knowndiff.All()
	require.NoError(t, err)
	for _, k := range all {
		require.Contains(t, judged, k.ID)
		if slices.Contains(handlers, k.Where) {
			require.Equal(t, requirement.PerHandler, judged[k.ID], k.ID)
		}
	}
}
