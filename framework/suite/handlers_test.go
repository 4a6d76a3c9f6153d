package suite

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/judge"
	"github.com/parley-k8s/parley/framework/requirement"
)

func TestCatalogueOfAColumn(t *testing.T) {
	chapter := func(id string, judged requirement.Judged) requirement.Chapter {
		q := requirement.Requirement{ID: id}
		return requirement.Chapter{Name: q.Chapter(), Judged: judged, Requirements: []requirement.Requirement{q}}
	}
	chapters := []requirement.Chapter{chapter("pod/a", requirement.PerHandler), chapter("external/b", requirement.PerCluster),
		chapter("node/c", requirement.PerCluster), chapter("dns/d", requirement.PerHandler)}
	for name, c := range map[string]struct {
		config Config
		at     int
		left   []string
	}{
		"no handler":               {Config{}, 0, []string{"dns/d"}},
		"the default one":          {Config{Matrix: "handlers"}, 0, []string{"dns/d"}},
		"another":                  {Config{Matrix: "handlers"}, 1, []string{"dns/d", "external/b", "node/c"}},
		"a RuntimeClass":           {Config{Kubeconfig: "k", Axes: asked("handler", "gvisor")}, 0, []string{"dns/d", "external/b", "node/c"}},
		"a RuntimeClass like ours": {Config{Kubeconfig: "k", Axes: asked("handler", "runc")}, 0, []string{"dns/d", "external/b", "node/c"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(chapters...)
			r.config = c.config
			r.chosen = map[string]string{"pod/a": "", "external/b": "", "node/c": "", "dns/d": "not chosen"}
			var err error
			r.columns, err = r.config.columns()
			require.NoError(t, err)
			catalogue := r.catalogue(r.columns[c.at])
			var left []string
			for id, why := range catalogue.LeftOut {
				if why != "" {
					left = append(left, id)
				}
			}
			require.ElementsMatch(t, c.left, left)
			for i, result := range judge.NewRecord("c", nil).Complete(catalogue, "").Results {
				notAsked := catalogue.LeftOut[r.all[i].ID] != "" && r.all[i].ID != "dns/d"
				require.Equal(t, notAsked, result.NotAsked, result.ID)
			}
		})
	}
}

func TestConfigOfHandlers(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		names  []string
		flag   string // of a run of one cluster
		matrix bool
		says   string
	}{
		"a set":                      {Config{Matrix: "handlers"}, []string{"runc", "crun", "runsc"}, "runc,crun,runsc", false, ""},
		"a list":                     {Config{Axes: asked("handler", "crun, runsc")}, []string{"crun", "runsc"}, "crun,runsc", false, ""},
		"one":                        {Config{Axes: asked("handler", "crun")}, []string{"crun"}, "crun", false, ""},
		"beside an axis of clusters": {Config{Matrix: "iptables+handlers nftables"}, []string{"iptables+runc", "iptables+crun", "iptables+runsc", "nftables"}, "", true, ""},
		"unknown":                    {Config{Axes: asked("handler", "kata")}, nil, "", false, "the OCI handlers are runc, crun and runsc"},
		"any name of a user's":       {Config{Context: "c", Axes: asked("handler", "kata,gvisor.eu")}, []string{"kata", "gvisor.eu"}, "kata,gvisor.eu", false, ""},
		"no name of a user's":        {Config{Context: "c", Axes: asked("handler", "../x")}, nil, "", false, "-handler ../x is no name of a RuntimeClass"},
		"a matrix of a user's":       {Config{Matrix: "handlers", Context: "c"}, nil, "", false, "compare saved reports"},
	} {
		t.Run(name, func(t *testing.T) {
			r := New()
			r.config = c.config
			var err error
			r.columns, err = r.config.columns()
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.names, namesOf(r.columns))
			if !c.matrix {
				require.Equal(t, c.flag, axis.Groups(r.columns)[0].Flags()[axis.HandlerFlag])
			}
			require.Equal(t, c.matrix, r.several())
			require.Equal(t, !c.matrix && len(c.names) > 1, r.shared())
		})
	}
}
