package suite

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/requirement"
)

func TestCheckRefusesWhatDoesNotGoTogether(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		given  []string
		says   string
	}{
		"nothing":               {Config{Workers: 2}, nil, ""},
		"no worker":             {Config{}, nil, "needs at least one worker"},
		"negative time":         {Config{Workers: 1, ProveWithin: -time.Second}, nil, "can't be negative"},
		"keep of a user's":      {Config{Workers: 2, Kubeconfig: "k", Keep: true}, []string{"keep"}, "are for clusters that Parley makes"},
		"a version of a user's": {Config{Workers: 2, Context: "c", Kubernetes: "1.35"}, []string{"kubernetes"}, "are for clusters that Parley makes"},
		"agent image of ours":   {Config{Workers: 2, AgentImage: "x"}, nil, "name it with -kubeconfig or -context"},
		"a user's":              {Config{Workers: 2, Context: "c", AgentImage: "x"}, []string{"context", "agent-image"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			given := map[string]bool{}
			for _, g := range c.given {
				given[g] = true
			}
			err := c.config.check(given)
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestChosen(t *testing.T) {
	all := []requirement.Requirement{
		{ID: "pod/a", Level: requirement.Must},
		{ID: "pod/b", Level: requirement.Should},
		{ID: "dns/c", Level: requirement.Must, Slow: true},
	}
	for name, c := range map[string]struct {
		config Config
		runs   []string
		says   string
	}{
		"all but the slow":        {Config{}, []string{"pod/a", "pod/b"}, ""},
		"slow too":                {Config{Slow: true}, []string{"pod/a", "pod/b", "dns/c"}, ""},
		"a slow one by name":      {Config{Select: "dns/c"}, []string{"dns/c"}, ""},
		"a chapter":               {Config{Select: "pod"}, []string{"pod/a", "pod/b"}, ""},
		"a level":                 {Config{Level: "MUST"}, []string{"pod/a"}, ""},
		"a pattern":               {Config{Select: "*/b"}, []string{"pod/b"}, ""},
		"nobody's name":           {Config{Select: "pod/zzz"}, nil, "pod/zzz"},
		"no level":                {Config{Level: "must"}, nil, "the levels are MUST, SHOULD and OPTIONAL"},
		"a pattern that is not":   {Config{Select: "pod/["}, nil, "pod/["},
		"one good, one of nobody": {Config{Select: "pod,x"}, nil, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			left, err := c.config.chosen(all)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			var runs []string
			for _, q := range all {
				if left[q.ID] == "" {
					runs = append(runs, q.ID)
				}
			}
			require.Equal(t, c.runs, runs)
		})
	}
}
