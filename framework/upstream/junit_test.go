package upstream

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadJUnit(t *testing.T) {
	f, err := os.Open("testdata/junit.xml")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	got, err := readJUnit(f)
	require.NoError(t, err)
	require.Equal(t, []spec{
		{name: "[sig-network] DNS should provide DNS for the cluster [Conformance] [sig-network, Conformance]", took: 4500 * time.Millisecond, passed: true},
		{name: "[sig-network] Services should serve a basic endpoint [Conformance]", took: 121 * time.Second,
			first: "failed dialing endpoint, 1 out of 2 connections failed", bytes: 111},
		{name: "[sig-network] Service endpoints latency should not be very high [Conformance]", took: time.Second,
			first: "pod never ran", bytes: 34, noImage: "registry.example/pause:3.10.2"},
		{name: "[sig-network] Proxy version v1 [Conformance]", took: time.Minute, first: "Interrupted by Timeout", bytes: 22},
		{name: "[sig-network] HostPort [Conformance]", took: time.Second, first: "no message: its state is aborted"},
		{name: "[SynchronizedBeforeSuite]", took: 600 * time.Second, first: "the nodes never were ready", bytes: 26},
	}, got)
}

func TestReadJUnitRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":           "",
		"cut short":         `<testsuites><testsuite><testcase name="[It] a" status="passed" time="1">`,
		"another form":      `<report/>`,
		"no XML":            "Ran 47 of 7579 Specs",
		"a time that isn't": `<testsuites><testcase name="[It] a" status="passed" time="soon"></testcase></testsuites>`,
	} {
		_, err := readJUnit(strings.NewReader(text))
		require.ErrorContains(t, err, "reading ginkgo's report", name)
	}
}

func FuzzReadJUnit(f *testing.F) {
	seed, err := os.ReadFile("testdata/junit.xml")
	require.NoError(f, err)
	f.Add(string(seed))
	f.Add(`<testsuites><testcase name="[It] a" status="failed" time="-1e99"><failure message=""/></testcase></testsuites>`)
	f.Add(`<testsuites><testcase time="NaN"/></testsuites>`)
	f.Fuzz(func(t *testing.T, text string) {
		specs, err := readJUnit(strings.NewReader(text))
		if err != nil {
			require.Empty(t, specs)
			return
		}
		for _, s := range specs {
			require.GreaterOrEqual(t, s.took, time.Duration(0))
			require.Equal(t, s.passed, s.first == "", "a red spec has a message, a green one none")
			require.NotContains(t, s.first, "\n")
		}
		side := ofSpecs(specs)
		require.Equal(t, len(specs), side.Judged+len(side.Unjudged))
	})
}

func TestFirstLine(t *testing.T) {
	for text, want := range map[string]string{"": "", "one": "one", "\n\n  two \nthree": "two", " \t\n": ""} {
		require.Equal(t, want, firstLine(text))
	}
}
