package nodeimage

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVersionOf(t *testing.T) {
	for ref, want := range map[string]string{
		"kindest/node:v1.37.0@sha256:abc":        "v1.37.0",
		"localhost:5000/node:v1.36.3":            "v1.36.3",
		"x/node:v1.38.0-alpha.1":                 "v1.38.0-alpha.1",
		"x/node:latest":                          "",
		"x/node":                                 "",
		"localhost/parley/node:607430edb2facfdb": "",
	} {
		require.Equal(t, want, versionOf(ref), ref)
	}
}

func TestSpellings(t *testing.T) {
	require.Equal(t, []string{"kindest/node@sha256:abc", "kindest/node:v1"}, spellings("kindest/node:v1@sha256:abc"))
	require.Equal(t, []string{"h:5000/node@sha256:abc", "h:5000/node"}, spellings("h:5000/node@sha256:abc"))
	require.Equal(t, []string{"x:1", "x:1"}, spellings("x:1"))
}

func TestReason(t *testing.T) {
	require.Equal(t, "lookup r.invalid: no such host",
		reason(errors.New(`podman manifest inspect x: exit status 125: Error: reading image: Get "https://r.invalid/v2/": dial tcp: lookup r.invalid: no such host`)))
	require.Equal(t, "denied", reason(errors.New("docker manifest inspect x: exit status 1: trying; Error: denied")))
}

func TestStepTellsBeginAndEnd(t *testing.T) {
	var told []Step
	s := &step{component: "etcd v1", run: func(s *step) error { s.cached(); s.detail(" last \n"); return nil }}
	s.place(2, 9)
	require.NoError(t, s.do(func(s Step) { s.Took = 0; told = append(told, s) }))
	require.Equal(t, Step{N: 2, Of: 9, Component: "etcd v1"}, told[0])
	require.Equal(t, Step{N: 2, Of: 9, Component: "etcd v1", Detail: "last", Cached: true, Done: true}, told[len(told)-1])

	told = nil
	s = &step{component: "x", run: func(*step) error { return errors.New("no") }}
	require.EqualError(t, s.do(func(s Step) { told = append(told, s) }), "no")
	require.False(t, told[len(told)-1].Done)
}

func TestEntryNameTellsInputsApart(t *testing.T) {
	require.NotEqual(t, entryName("x", "ab", "c"), entryName("x", "a", "bc"))
	require.Equal(t, entryName("x", "a"), entryName("x", "a"))
	require.Less(t, progressInterval, time.Minute, "a person hears of a long step")
}
