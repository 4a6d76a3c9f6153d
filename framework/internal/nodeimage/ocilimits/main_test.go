package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTarget(t *testing.T) {
	for call, want := range map[string]struct {
		file    string
		process bool
	}{
		"--root /run/runc --systemd-cgroup create --bundle /b --pid-file /p id": {"/b/config.json", false},
		"--root=/run/runc create -b /b id":                                      {"/b/config.json", false},
		"run --bundle=/b id":                                                    {"/b/config.json", false},
		"create id":                                                             {"config.json", false},
		"--log /l --log-format json exec --process /p/process.json --detach id": {"/p/process.json", true},
		"exec -d --process=/p id": {"/p", true},
		"exec id sh -p x":         {"", true},
		"exec -- id --process x":  {"", true},
		"state id":                {"", false},
		"--root create delete id": {"", false},
		"features":                {"", false},
		"--version":               {"", false},
		"":                        {"", false},
	} {
		file, process := target(strings.Fields(call))
		require.Equal(t, want.file, file, call)
		require.Equal(t, want.process, process, call)
	}
}

func TestBounded(t *testing.T) {
	require.True(t, bounded("Name:\tx\nCapBnd:\t000001ffffffffff\n", capSysResource))
	require.False(t, bounded("Name:\tx\nCapBnd:\t000001fffeffffff\n", capSysResource))
	require.True(t, bounded("", capSysResource))
}

var few = limits{hard: func(r int) uint64 { return map[int]uint64{7: 1000}[r] }}

func TestWithin(t *testing.T) {
	for name, c := range map[string]struct {
		in      string
		process bool
		limits  limits
		want    string
	}{
		"a container": {
			in: `{"ociVersion":"1.3.0","process":{"oomScoreAdj":-997,"capabilities":{"bounding":["CAP_KILL","CAP_SYS_RESOURCE"],"ambient":null},
				"rlimits":[{"type":"RLIMIT_NOFILE","hard":18446744073709551615,"soft":500},{"type":"RLIMIT_OTHER","hard":5,"soft":5}]},
				"linux":{"resources":{"hugepageLimits":[{"pageSize":"2MB"}],"pids":{"limit":9007199254740993}}}}`,
			limits: few,
			want: `{"ociVersion":"1.3.0","process":{"oomScoreAdj":0,"capabilities":{"bounding":["CAP_KILL"],"ambient":null},
				"rlimits":[{"type":"RLIMIT_NOFILE","hard":1000,"soft":500},{"type":"RLIMIT_OTHER","hard":5,"soft":5}]},
				"linux":{"resources":{"pids":{"limit":9007199254740993}}}}`,
		},
		"hugepages that can be limited": {
			in:     `{"linux":{"resources":{"hugepageLimits":[]}}}`,
			limits: limits{hugetlb: true}, want: `{"linux":{"resources":{"hugepageLimits":[]}}}`,
		},
		"a process": {
			in: `{"oomScoreAdj":1000,"args":["x"],"process":{"oomScoreAdj":-1}}`, process: true,
			limits: few, want: `{"oomScoreAdj":1000,"args":["x"],"process":{"oomScoreAdj":-1}}`,
		},
	} {
		got, err := within([]byte(c.in), c.process, c.limits)
		require.NoError(t, err, name)
		require.JSONEq(t, c.want, string(got), name)
		require.Equal(t, strings.Count(c.in, "9007199254740993"), strings.Count(string(got), "9007199254740993"), "64 bits stay")
	}
	_, err := within([]byte("no JSON"), false, few)
	require.Error(t, err)
}

func TestEditWritesTheFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"process":{"oomScoreAdj":-1}}`), 0o600))
	require.NoError(t, edit([]string{"create", "--bundle", dir, "id"}, few))
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.JSONEq(t, `{"process":{"oomScoreAdj":0}}`, string(got))
	require.NoError(t, edit([]string{"kill", "id"}, few))
	require.Error(t, edit([]string{"exec", "--process", filepath.Join(dir, "none"), "id"}, few))
}

func FuzzWithin(f *testing.F) {
	f.Add([]byte(`{"process":{"oomScoreAdj":-1,"rlimits":[1],"capabilities":3},"linux":{"resources":[]}}`), false)
	f.Add([]byte(`null`), true)
	f.Fuzz(func(t *testing.T, in []byte, process bool) {
		if out, err := within(in, process, few); err == nil {
			require.True(t, json.Valid(out))
		}
	})
}
