package suite

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/judge"
	"github.com/parley-k8s/parley/framework/requirement"
)

func TestCatalogueOfAColumn(t *testing.T) {
	all := []requirement.Requirement{{ID: "pod/a"}, {ID: "external/b"}, {ID: "node/c"}, {ID: "dns/d"}}
	for name, c := range map[string]struct {
		config Config
		at     int
		left   []string
	}{
		"no handler":               {Config{}, 0, []string{"dns/d"}},
		"the default one":          {Config{Matrix: "handlers"}, 0, []string{"dns/d"}},
		"another":                  {Config{Matrix: "handlers"}, 1, []string{"dns/d", "external/b", "node/c"}},
		"a RuntimeClass":           {Config{Handler: "gvisor", Kubeconfig: "k"}, 0, []string{"dns/d", "external/b", "node/c"}},
		"a RuntimeClass like ours": {Config{Handler: "runc", Kubeconfig: "k"}, 0, []string{"dns/d", "external/b", "node/c"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(all)
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
				notAsked := catalogue.LeftOut[all[i].ID] != "" && all[i].ID != "dns/d"
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
		"a list":                     {Config{Handler: "crun, runsc"}, []string{"crun", "runsc"}, "crun,runsc", false, ""},
		"one":                        {Config{Handler: "crun"}, []string{"crun"}, "crun", false, ""},
		"beside an axis of clusters": {Config{Matrix: "iptables+handlers nftables"}, []string{"iptables+runc", "iptables+crun", "iptables+runsc", "nftables"}, "", true, ""},
		"unknown":                    {Config{Handler: "kata"}, nil, "", false, "the OCI handlers are runc, crun and runsc"},
		"any name of a user's":       {Config{Handler: "kata,gvisor.eu", Context: "c"}, []string{"kata", "gvisor.eu"}, "kata,gvisor.eu", false, ""},
		"no name of a user's":        {Config{Handler: "../x", Context: "c"}, nil, "", false, "-handler ../x is no name of a RuntimeClass"},
		"a matrix of a user's":       {Config{Matrix: "handlers", Context: "c"}, nil, "", false, "compare saved reports"},
	} {
		t.Run(name, func(t *testing.T) {
			r := New(nil)
			r.config = c.config
			var err error
			r.columns, err = r.config.columns()
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.names, namesOf(r.columns))
			require.Equal(t, c.flag, r.config.Handler)
			require.Equal(t, c.matrix, r.several())
			require.Equal(t, !c.matrix && len(c.names) > 1, r.shared())
		})
	}
}
