package knowndiff

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/reports"
)

func TestAllSaysWhy(t *testing.T) {
	all, err := All()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	for _, k := range all {
		require.NotEmpty(t, k.Why, k.ID)
	}
}

func TestIn(t *testing.T) {
	of := func(name, value string) reports.Cluster {
		return reports.Cluster{Facts: []reports.Fact{{Name: name, Value: value}}}
	}
	for name, tc := range map[string]struct {
		clusters []reports.Cluster
		want     []string
	}{
		"none":             {nil, nil},
		"nothing is known": {[]reports.Cluster{{}, of("OCI handler", "runc"), of("runtime", "containerd://2.4.2")}, nil},
		"a handler":        {[]reports.Cluster{of("OCI handler", "runc"), of("OCI handler", "runsc")}, []string{"runsc"}},
		"a runtime":        {[]reports.Cluster{of("runtime", "cri-o://1.37.0")}, []string{"cri-o"}},
		"a family":         {[]reports.Cluster{of("address families", "IPv4"), of("address families", "IPv6")}, []string{"ipv6"}},
		"two families":     {[]reports.Cluster{of("address families", "IPv4, IPv6")}, nil},
		"an axis":          {[]reports.Cluster{{Values: []string{"runsc"}}, of("runtime", "cri-o://1.37.0")}, []string{"cri-o", "runsc"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := In(&reports.Report{Clusters: tc.clusters})
			require.NoError(t, err)
			var where []string
			for _, k := range got {
				where = append(where, k.Where)
			}
			slices.Sort(where)
			require.Equal(t, tc.want, slices.Compact(where))
		})
	}
}
