package suite

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

func TestTakeUp(t *testing.T) {
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
			r.takeUp(c.at)
			var left []string
			for id, why := range r.left {
				if why != "" {
					left = append(left, id)
				}
			}
			require.ElementsMatch(t, c.left, left)
			r.report = reports.New("1a-2b", r.started)
			r.report.Clusters = []reports.Cluster{{Name: "c"}}
			r.completeResults("")
			for i, result := range r.cluster().Results {
				notAsked := r.left[r.all[i].ID] != "" && r.all[i].ID != "dns/d"
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
			require.Equal(t, c.matrix, r.isMatrix())
			require.Equal(t, !c.matrix && len(c.names) > 1, r.shares())
		})
	}
}

func TestPlaces(t *testing.T) {
	taint := func(effect corev1.TaintEffect) []corev1.Taint {
		return []corev1.Taint{{Key: "sandbox", Value: "gvisor", Effect: effect}}
	}
	node := func(name string, labels map[string]string, taints []corev1.Taint) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: corev1.NodeSpec{Taints: taints}}
	}
	sandbox := map[string]string{"sandbox": "gvisor"}
	nodes := []corev1.Node{
		node("plain", nil, nil),
		node("sandbox", sandbox, taint(corev1.TaintEffectNoSchedule)),
		node("other", sandbox, []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectNoExecute}}),
		node("soft", sandbox, []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectPreferNoSchedule}}),
	}
	got := places(&nodev1.Scheduling{NodeSelector: sandbox,
		Tolerations: []corev1.Toleration{{Key: "sandbox", Operator: corev1.TolerationOpEqual, Value: "gvisor", Effect: corev1.TaintEffectNoSchedule}}}, nodes)
	require.Equal(t, map[string]place{"plain": {false, true}, "sandbox": {true, true}, "other": {true, false}, "soft": {true, true}}, got)
	require.True(t, places(&nodev1.Scheduling{}, nodes)["plain"].Selected)
}

// The parts of columns that shared a cluster are found by their names, those that the run did not come to say so.
func TestColumnsThatShareACluster(t *testing.T) {
	c := &columnRun{group: columnsOf(t, "dual+handlers"), dir: "out/x", report: &reports.Report{Interrupted: "cut short", Clusters: []reports.Cluster{
		{Name: "dual+runc", Results: []reports.Result{{ID: "a/b", Failure: &reports.Failure{Evidence: "dual+runc/evidence/b"}}}},
		{Name: "dual+runsc", Interrupted: "no pod started"},
	}}}
	got := c.clusters()
	require.Len(t, got, 3)
	require.Equal(t, []string{"dual+runc", "dual+crun", "dual+runsc"}, []string{got[0].Name, got[1].Name, got[2].Name})
	require.Equal(t, []string{"dual", "runsc"}, got[2].Values)
	require.Equal(t, "x/dual+runc/evidence/b", got[0].Results[0].Failure.Evidence)
	require.Equal(t, []string{"", "cut short", "no pod started"}, []string{got[0].Interrupted, got[1].Interrupted, got[2].Interrupted})
}
