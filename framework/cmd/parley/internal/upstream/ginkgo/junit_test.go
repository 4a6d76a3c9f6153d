package ginkgo

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRead(t *testing.T) {
	f, err := os.Open("testdata/junit.xml")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	got, err := Read(f)
	require.NoError(t, err)
	require.Equal(t, []Spec{
		{Name: "[sig-network] DNS should provide DNS for the cluster [Conformance] [sig-network, Conformance]", Took: 4500 * time.Millisecond, Passed: true},
		{Name: "[sig-network] Services should serve a basic endpoint [Conformance]", Took: 121 * time.Second,
			First: "failed dialing endpoint, 1 out of 2 connections failed", Bytes: 111},
		{Name: "[sig-network] Service endpoints latency should not be very high [Conformance]", Took: time.Second,
			First: "pod never ran", Bytes: 34, NoImage: "registry.example/pause:3.10.2"},
		{Name: "[sig-network] Proxy version v1 [Conformance]", Took: time.Minute, First: "Interrupted by Timeout", Bytes: 22},
		{Name: "[sig-network] HostPort [Conformance]", Took: time.Second, First: "no message: its state is aborted"},
		{Name: "[SynchronizedBeforeSuite]", Took: 600 * time.Second, First: "the nodes never were ready", Bytes: 26},
	}, got)
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":           "",
		"cut short":         `<testsuites><testsuite><testcase name="[It] a" status="passed" time="1">`,
		"another form":      `<report/>`,
		"no XML":            "Ran 47 of 7579 Specs",
		"a time that isn't": `<testsuites><testcase name="[It] a" status="passed" time="soon"></testcase></testsuites>`,
	} {
		_, err := Read(strings.NewReader(text))
		require.ErrorContains(t, err, "reading ginkgo's report", name)
	}
}

func FuzzRead(f *testing.F) {
	seed, err := os.ReadFile("testdata/junit.xml")
	require.NoError(f, err)
	f.Add(string(seed))
	f.Add(`<testsuites><testcase name="[It] a" status="failed" time="-1e99"><failure message=""/></testcase></testsuites>`)
	f.Add(`<testsuites><testcase time="NaN"/></testsuites>`)
	f.Fuzz(func(t *testing.T, text string) {
		specs, err := Read(strings.NewReader(text))
		if err != nil {
			require.Empty(t, specs)
			return
		}
		for _, s := range specs {
			require.GreaterOrEqual(t, s.Took, time.Duration(0))
			require.Equal(t, s.Passed, s.First == "", "a red spec has a message, a green one none")
			require.NotContains(t, s.First, "\n")
		}
	})
}

func TestFirstLine(t *testing.T) {
	for text, want := range map[string]string{"": "", "one": "one", "\n\n  two \nthree": "two", " \t\n": ""} {
		require.Equal(t, want, FirstLine(text))
	}
}
