package matrix

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/progress"
	"github.com/parley-k8s/parley/reports"
)

var errTest = errors.New("interrupted by a test")

func namesOf(columns []axis.Column) (names []string) {
	for _, c := range columns {
		names = append(names, c.Name())
	}
	return names
}

func columnsOf(t *testing.T, matrix string) []axis.Column {
	t.Helper()
	columns, err := axis.Columns(axis.All(), nil, matrix)
	require.NoError(t, err)
	return columns
}

func TestPossible(t *testing.T) {
	bare := axis.Host{Lacking: map[string]string{"ipvs": ""}, Runtimes: map[string]string{"crio": "no bundle of CRI-O is named"}}
	for matrix, want := range map[string]struct {
		made []string
		not  []reports.NotRun
		says string
	}{
		"":               {[]string{"default"}, nil, ""},
		"iptables ipv6":  {[]string{"iptables", "ipv6"}, nil, ""},
		"proxies":        {[]string{"iptables", "nftables"}, []reports.NotRun{{Name: "ipvs", Reason: "this host's kernel shows no ipvs"}}, ""},
		"proxies ipvs":   {nil, nil, "this host can't make what was asked for by name: ipvs: this host's kernel shows no ipvs; leave it out"},
		"ipv6+ipvs ipv6": {nil, nil, "asked for by name"},
		"dual+proxies":   {[]string{"dual+iptables", "dual+nftables"}, []reports.NotRun{{Name: "dual+ipvs", Reason: "ipvs: this host's kernel shows no ipvs"}}, ""},
		"ipvs+families":  {nil, nil, "this host can make none of these clusters: ipvs: this host's kernel shows no ipvs"},
		"families":       {[]string{"ipv4", "ipv6", "dual"}, nil, ""},
		"containerds+kubernetes-1.36": {[]string{"kubernetes-1.36+containerd-2.4"}, []reports.NotRun{
			{Name: "kubernetes-1.36+containerd-2.1", Reason: "containerd-2.1: it does not go with Kubernetes 1.36: containerd's own table names 2.2 or later for Kubernetes 1.36, " +
				"and 2.3 or later for 1.37 (https://github.com/containerd/containerd/blob/v2.4.2/RELEASES.md#kubernetes-support); ask for Kubernetes 1.35 or older with it"},
			{Name: "kubernetes-1.36+containerd-1.7", Reason: "containerd-1.7: it does not go with Kubernetes 1.36: Kubernetes 1.35 is the last that supports containerd 1.x " +
				"(https://kubernetes.io/blog/2025/12/17/kubernetes-v1-35-release/#final-call-for-containerd-v1x); ask for Kubernetes 1.35 or older with it"},
		}, ""},
		"kubernetes-1.37+containerd-1.7": {nil, nil, "asked for by name: containerd-1.7: it does not go with Kubernetes 1.37"},
		"containerd-1.7":                 {[]string{"containerd-1.7"}, nil, ""},
		"nftables+ipv6  ":                {[]string{"ipv6+nftables"}, nil, ""},
		"runtimes":                       {[]string{"containerd", "docker"}, []reports.NotRun{{Name: "crio", Reason: "no bundle of CRI-O is named"}}, ""},
		"docker+handlers": {[]string{"docker+runc"}, []reports.NotRun{
			{Name: "docker+crun", Reason: "crun: it is set up in containerd, and the nodes' runtime would be docker"},
			{Name: "docker+runsc", Reason: "runsc: it is set up in containerd, and the nodes' runtime would be docker"},
		}, ""},
		"docker+runsc": {nil, nil, "asked for by name: runsc: it is set up in containerd, and the nodes' runtime would be docker; leave it out"},
		"docker crio":  {nil, nil, "this host can't make what was asked for by name: crio: no bundle of CRI-O is named; leave it out"},
	} {
		t.Run(matrix, func(t *testing.T) {
			made, not, err := possible(columnsOf(t, matrix), bare)
			if want.says != "" {
				require.ErrorContains(t, err, want.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, want.made, namesOf(made))
			require.Equal(t, want.not, not)
		})
	}
}

func TestArgumentsOfAColumn(t *testing.T) {
	c := &child{group: columnsOf(t, "dual+nftables"), dir: "d"}
	own := []string{"-test.timeout=1h", "-select", "pod"}
	got := c.arguments(own, time.Minute)
	require.Equal(t, own, got[:3], "what the user said comes first")
	for _, want := range []string{"-test.timeout=1m0s", "-report=d", "-matrix=", "-family=dual", "-proxy-mode=nftables"} {
		require.Contains(t, got[3:], want)
	}
}

func TestTimeOfColumns(t *testing.T) {
	o := Options{JudgingEachColumn: time.Minute}
	require.Equal(t, makeCluster, o.making(1, 1))
	require.Equal(t, 2*makeCluster, o.making(2, 1))
	require.LessOrEqual(t, o.making(2, 2), o.making(2, 1))
	require.Equal(t, time.Minute, o.judging(1, 1))
	require.Equal(t, 2*time.Minute, o.judging(2, 2))
	require.Equal(t, 2*time.Minute+otherWorld, o.judging(2, 1))
}

func TestBudget(t *testing.T) {
	left := func(d time.Duration) Budget { return Budget{Started: time.Now(), Limit: d} }
	require.NoError(t, left(0).Fits(time.Hour), "no limit")
	require.NoError(t, left(time.Hour).Fits(10*time.Minute))
	require.ErrorContains(t, left(10*time.Minute).Fits(time.Hour), "run it with -timeout 1h2m")
	require.Zero(t, left(0).ofChild())
	require.Equal(t, time.Second, left(time.Second).ofChild(), "never 0, which would be no limit")
	t.Setenv(columnVariable, "nftables")
	require.ErrorContains(t, left(10*time.Minute).Fits(time.Hour), "run the matrix with a longer -timeout")
}

func TestAtOnce(t *testing.T) {
	many := Options{Workers: 1 << 20} // more than any memory
	n, err := many.atOnce(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, 1, n, "one is made in any case")
	many.Keep = true
	_, err = many.atOnce(t.Context(), 2)
	require.ErrorContains(t, err, "leave -keep out")
	n, err = Options{Measure: true}.atOnce(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// A program that knows none of the run's flags stands for a run that died before it wrote anything.
func TestAColumnThatLeavesNoReport(t *testing.T) {
	c := &child{group: columnsOf(t, "nftables"), dir: filepath.Join(t.TempDir(), "nftables")}
	require.NoError(t, os.MkdirAll(c.dir, 0o755))
	stale := filepath.Join(c.dir, reports.JSONFile)
	require.NoError(t, os.WriteFile(stale, []byte("{}"), 0o644))
	var said []string
	c.judge(t.Context(), "", time.Minute, func(line string) { said = append(said, line) })
	require.NotEmpty(t, said)
	require.Contains(t, c.trouble, "its run exited with 2 and left no report; see ")
	require.NoFileExists(t, stale, "an older run's report is not this one's")
	got := c.clusters()[0]
	require.Equal(t, "nftables", got.Name)
	require.Equal(t, c.trouble, got.Interrupted)
}

func TestAColumnOfAnInterruptedMatrix(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errTest)
	c := &child{group: columnsOf(t, "nftables"), dir: filepath.Join(t.TempDir(), "x")}
	c.judge(ctx, "", time.Minute, func(string) {})
	require.Equal(t, errTest.Error(), c.trouble)
	require.Equal(t, reports.ExitUnjudged, c.exit)
}

func TestLineWriter(t *testing.T) {
	var got []string
	w := &lineWriter{each: func(s string) { got = append(got, s) }}
	for _, s := range []string{"a", "b\nc\r\n\n", "d"} {
		n, err := w.Write([]byte(s))
		require.NoError(t, err)
		require.Len(t, s, n)
	}
	w.flush()
	w.flush()
	require.Equal(t, []string{"ab", "c", "", "d"}, got)
}

func TestLockIsHeldByOne(t *testing.T) {
	t.Setenv(lockVariable, filepath.Join(t.TempDir(), "turn"))
	log := progress.New(true)
	ctx, stop := context.WithCancelCause(t.Context())
	unlock, err := Lock(ctx, log)
	require.NoError(t, err)
	got := make(chan struct{})
	go func() {
		unlock, err := Lock(ctx, log)
		if err == nil {
			unlock()
		}
		close(got)
	}()
	select {
	case <-got:
		t.Fatal("both have the lock")
	case <-time.After(300 * time.Millisecond): // a lock that is wrongly free is had at once
	}
	unlock()
	<-got

	unlock, err = Lock(ctx, log)
	require.NoError(t, err)
	defer unlock()
	stop(errTest)
	_, err = Lock(ctx, log)
	require.ErrorIs(t, err, errTest)
}

func TestEvidenceLiesInTheColumnsFolder(t *testing.T) {
	c := &child{group: columnsOf(t, "nftables"), dir: "out/nftables", report: reports.New("1a-2b", time.Time{})}
	c.report.Interrupted = "cut short"
	c.report.Clusters = []reports.Cluster{{Name: "parley-1a-2b", Results: []reports.Result{{ID: "a/b", Failure: &reports.Failure{Evidence: "evidence/b"}}}}}
	for range 2 {
		got := c.clusters()[0]
		require.Equal(t, "nftables/evidence/b", got.Results[0].Failure.Evidence)
		require.Equal(t, "cut short", got.Interrupted)
		require.Equal(t, []string{"nftables"}, got.Values)
	}
}

// The parts of columns that shared a cluster are found by their names, those that the run did not come to say so.
func TestColumnsThatShareACluster(t *testing.T) {
	c := &child{group: columnsOf(t, "dual+handlers"), dir: "out/x", report: &reports.Report{Interrupted: "cut short", Clusters: []reports.Cluster{
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
