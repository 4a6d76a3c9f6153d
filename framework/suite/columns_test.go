package suite

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/reports"
)

func TestConfigColumns(t *testing.T) {
	for name, c := range map[string]struct {
		config        Config
		names         []string
		family, proxy string // of a run of one cluster
		says          string
	}{
		"nothing":                    {Config{}, []string{"default"}, "", "", ""},
		"one value":                  {Config{Axes: asked("proxy-mode", "nftables")}, []string{"nftables"}, "", "nftables", ""},
		"one entry":                  {Config{Matrix: "dual+nftables"}, []string{"dual+nftables"}, "dual", "nftables", ""},
		"a runtime":                  {Config{Axes: asked("runtime", "crio", "family", "dual")}, []string{"dual+crio"}, "dual", "", ""},
		"no such runtime":            {Config{Axes: asked("runtime", "rkt")}, nil, "", "", "-runtime rkt: the runtimes are containerd, crio and docker"},
		"two":                        {Config{Axes: asked("proxy-mode", "iptables,nftables")}, []string{"iptables", "nftables"}, "", "iptables,nftables", ""},
		"unknown":                    {Config{Axes: asked("family", "ipv5")}, nil, "", "", "the address families are ipv4, ipv6 and dual"},
		"a matrix of a user's":       {Config{Matrix: "proxies", Kubeconfig: "k"}, nil, "", "", "compare saved reports with `parley diff`"},
		"a list for a user's":        {Config{Context: "c", Axes: asked("family", "ipv4,dual")}, nil, "", "", "leave them out with -kubeconfig or -context"},
		"a version":                  {Config{Axes: asked("kubernetes", "kubernetes-1.35")}, []string{"kubernetes-1.35"}, "", "", ""},
		"versions":                   {Config{Axes: asked("containerd", "2.4,2.1")}, []string{"containerd-2.4", "containerd-2.1"}, "", "", ""},
		"an image and a version":     {Config{NodeImage: "x", Axes: asked("kubernetes", "1.35")}, nil, "", "", "-node-image names an image, whose versions are its own"},
		"an image, versions in sets": {Config{NodeImage: "x", Matrix: "iptables containerds"}, nil, "", "", "versions in -matrix"},
		"an image and a proxy mode":  {Config{NodeImage: "x", Axes: asked("proxy-mode", "nftables")}, []string{"nftables"}, "", "nftables", ""},
		"one entry, a user's":        {Config{Matrix: "dual", Context: "c"}, nil, "", "", "leave them out with -kubeconfig or -context"},
		"a user's and nothing asked": {Config{Context: "c"}, []string{"default"}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.config.columns()
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.names, namesOf(got))
			if len(axis.Groups(got)) == 1 {
				require.Equal(t, c.family, got[0].Spec().Family)
				require.Equal(t, c.proxy, got[0].Spec().ProxyMode)
			}
		})
	}
}

func namesOf(columns []axis.Column) (names []string) {
	for _, c := range columns {
		names = append(names, c.Name())
	}
	return names
}

// asked are choices by pairs of an axis's flag and what it is given.
func asked(pairs ...string) *axis.Choices {
	given := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		given[pairs[i]] = pairs[i+1]
	}
	return axis.Choose(axis.All(), given)
}

func columnsOf(t *testing.T, matrix string) []axis.Column {
	t.Helper()
	columns, err := axis.Choose(axis.All(), nil).Columns(matrix)
	require.NoError(t, err)
	return columns
}

func TestPossible(t *testing.T) {
	bare := axis.Host{Lacking: map[string]string{"ipvs": ""}, Unavailable: map[string]string{"crio": "no bundle of CRI-O is named"}}
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

func TestWorst(t *testing.T) {
	for _, c := range []struct {
		codes []int
		want  int
	}{{nil, 0}, {[]int{0, 0}, 0}, {[]int{0, 1}, 1}, {[]int{2, 1}, 1}, {[]int{2, 0}, 2}, {[]int{0, 137}, 2}} {
		require.Equal(t, c.want, worst(c.codes), "%v", c.codes)
	}
}

func TestArgumentsOfAColumn(t *testing.T) {
	c := &columnRun{group: columnsOf(t, "dual+nftables"), dir: "d"}
	own := []string{"-test.timeout=1h", "-select", "pod"}
	got := c.arguments(own, time.Minute)
	require.Equal(t, own, got[:3], "what the user said comes first")
	for _, want := range []string{"-test.timeout=1m0s", "-report=d", "-matrix=", "-family=dual", "-proxy-mode=nftables"} {
		require.Contains(t, got[3:], want)
	}
}

func TestTimeOfColumns(t *testing.T) {
	r := New()
	require.Equal(t, makeCluster+judgeRows, r.timeOfColumns(1, 2))
	require.Equal(t, 2*(makeCluster+judgeRows), r.timeOfColumns(2, 1))
	require.LessOrEqual(t, r.timeOfColumns(2, 2), r.timeOfColumns(2, 1))
}

func TestAtOnce(t *testing.T) {
	r := New()
	r.config.Workers = 1 << 20 // more than any memory
	n, err := r.atOnce(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, 1, n, "one is made in any case")
	r.config.Keep = true
	_, err = r.atOnce(t.Context(), 2)
	require.ErrorContains(t, err, "leave -keep out")
	r = New()
	r.config.Measure = true
	n, err = r.atOnce(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// A program that knows none of the run's flags stands for a run that died before it wrote anything.
func TestAColumnThatLeavesNoReport(t *testing.T) {
	c := &columnRun{group: columnsOf(t, "nftables"), dir: filepath.Join(t.TempDir(), "nftables")}
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
	stop(errTimeout)
	c := &columnRun{group: columnsOf(t, "nftables"), dir: filepath.Join(t.TempDir(), "x")}
	c.judge(ctx, "", time.Minute, func(string) {})
	require.Equal(t, errTimeout.Error(), c.trouble)
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

func TestTurnsComeOneAfterTheOther(t *testing.T) {
	t.Setenv(turnVariable, filepath.Join(t.TempDir(), "turn"))
	first, second := New(), New()
	for _, r := range []*Run{first, second} {
		r.progress = newProgress()
		r.ctx, r.stop = context.WithCancelCause(t.Context())
	}
	release, err := first.takeTurn()
	require.NoError(t, err)
	got := make(chan struct{})
	go func() {
		release, err := second.takeTurn()
		if err == nil {
			release()
		}
		close(got)
	}()
	select {
	case <-got:
		t.Fatal("both have the turn")
	case <-time.After(300 * time.Millisecond): // a turn that is wrongly free is had at once
	}
	release()
	<-got

	release, err = first.takeTurn()
	require.NoError(t, err)
	defer release()
	second.stop(errTimeout)
	_, err = second.takeTurn()
	require.ErrorIs(t, err, errTimeout)
}

func TestEvidenceLiesInTheColumnsFolder(t *testing.T) {
	c := &columnRun{group: columnsOf(t, "nftables"), dir: "out/nftables", report: reports.New("1a-2b", time.Time{})}
	c.report.Interrupted = "cut short"
	c.report.Clusters = []reports.Cluster{{Name: "parley-1a-2b", Results: []reports.Result{{ID: "a/b", Failure: &reports.Failure{Evidence: "evidence/b"}}}}}
	for range 2 {
		got := c.clusters()[0]
		require.Equal(t, "nftables/evidence/b", got.Results[0].Failure.Evidence)
		require.Equal(t, "cut short", got.Interrupted)
		require.Equal(t, []string{"nftables"}, got.Values)
	}
}

func TestAColumnIsStoppedByItsMatrix(t *testing.T) {
	require.EqualError(t, interruption(syscall.SIGTERM), "interrupted by terminated")
	t.Setenv(columnVariable, "nftables")
	require.ErrorIs(t, interruption(syscall.SIGTERM), errStopped)
	require.EqualError(t, interruption(os.Interrupt), "interrupted by interrupt")
}
