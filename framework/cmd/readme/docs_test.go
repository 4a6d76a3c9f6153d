package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/tests"
)

const root = "../../.."

// documents are the texts for readers, by their path from the module's root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob(root + "/docs/*.md")
	require.NoError(t, err)
	more, err := filepath.Glob(root + "/*.md")
	require.NoError(t, err)
	all := map[string]string{}
	for _, name := range append(append(names, more...), root+"/manifests/runtimes/README.md") {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		all[strings.TrimPrefix(name, root+"/")] = string(content)
	}
	require.Contains(t, all, "README.md")
	require.Contains(t, all, "docs/running.md")
	return all
}

func TestREADMEHasItsMarkers(t *testing.T) {
	for _, part := range []string{partRun, partFailure} {
		_, err := replaceBetween(documents(t)["README.md"], part, "")
		require.NoError(t, err)
	}
}

// inlineFlag is a flag of a run as the tables of the documents write it: `-select`.
var inlineFlag = regexp.MustCompile("`(-[a-z][a-z-]+)")

func TestFlagsInDocumentsExist(t *testing.T) {
	// It prints the flags and ends: no cluster is made.
	cmd := exec.CommandContext(t.Context(), "go", "test", root+"/tests", "-args", "-help")
	usage, _ := cmd.CombinedOutput()
	require.Contains(t, string(usage), "  -select", "no usage was printed")
	known := map[string]bool{"-args": true, "-timeout": true, "-count": true} // go test's own
	for _, line := range strings.Split(string(usage), "\n") {
		if name, ok := strings.CutPrefix(line, "  -"); ok {
			known["-"+strings.Fields(name)[0]] = true
		}
	}
	for name, text := range documents(t) {
		for _, found := range inlineFlag.FindAllStringSubmatch(text, -1) {
			require.True(t, known[found[1]], "%s names the flag %s, which there is not", name, found[1])
		}
	}
}

// link is a link of Markdown to a file of this repository.
var link = regexp.MustCompile(`\]\(([^):#]*)(#[^)]*)?\)`)

func TestLinksInDocumentsLead(t *testing.T) {
	all := documents(t)
	for name, text := range all {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			target := name
			if found[1] != "" {
				target = filepath.Join(filepath.Dir(name), found[1])
			}
			_, err := os.Stat(filepath.Join(root, target))
			require.NoError(t, err, "%s links to %s", name, found[0])
			if found[2] != "" {
				require.Contains(t, anchors(all[target]), found[2], "%s links to %s", name, found[0])
			}
		}
	}
}

// anchors are those that GitHub makes of the headings.
func anchors(text string) (all []string) {
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "#") {
			words := strings.Fields(strings.ToLower(strings.TrimLeft(line, "# ")))
			all = append(all, "#"+strings.Map(func(r rune) rune {
				if strings.ContainsRune(",.:;'`()?!", r) {
					return -1
				}
				return r
			}, strings.Join(words, "-")))
		}
	}
	return all
}

// names is what looks like the ID of a requirement.
var names = regexp.MustCompile("`((?:container|pod|service|dns|external|node)/[a-z0-9-]+)`")

func TestRequirementsInDocumentsExist(t *testing.T) {
	ids := []string{}
	for _, q := range tests.All() {
		ids = append(ids, q.ID)
	}
	for name, text := range documents(t) {
		for _, found := range names.FindAllStringSubmatch(text, -1) {
			require.True(t, slices.Contains(ids, found[1]), "%s names the requirement %s, which there is not", name, found[1])
		}
	}
}

func TestWorkedExampleIsTheOneThatCompiles(t *testing.T) {
	code, err := os.ReadFile(root + "/framework/requirement/example_test.go")
	require.NoError(t, err)
	_, example, _ := strings.Cut(string(code), "// echoCrossNode is")
	example, _, _ = strings.Cut(example, "// A requirement is one value")
	require.Contains(t, documents(t)["docs/adding-a-requirement.md"], strings.TrimSpace(example))
}
