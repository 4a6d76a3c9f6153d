package suite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/progress"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// finish is one path for one cluster, for several, and for columns that share one.
func TestFinish(t *testing.T) {
	passed := reports.Result{ID: "pod/a", Chapter: "pod", Level: "MUST", Outcome: reports.Passed}
	failed := reports.Result{ID: "pod/a", Chapter: "pod", Level: "MUST", Outcome: reports.Failed, Reason: "no answer"}
	one := func(name string, r reports.Result) reports.Cluster {
		return reports.Cluster{Name: name, Results: []reports.Result{r}}
	}
	for name, c := range map[string]struct {
		matrix   string
		notAsked bool // of verdicts
		found    []reports.Cluster
		codes    []int
		fatal    error
		stopped  error
		code     int // of go test
		want     int
		files    []string // besides those of any report
		says     string   // why it was cut short
	}{
		"no verdict was asked for":       {notAsked: true, code: 7, want: 7},
		"passed":                         {found: []reports.Cluster{one("c", passed)}, want: reports.ExitPassed},
		"passed, and go test failed":     {found: []reports.Cluster{one("c", passed)}, code: 1, want: 1},
		"failed":                         {found: []reports.Cluster{one("c", failed)}, code: 1, want: reports.ExitFailed},
		"no cluster":                     {fatal: errors.New("no engine"), code: 1, want: reports.ExitUnjudged, says: "no engine"},
		"interrupted":                    {found: []reports.Cluster{one("c", passed)}, stopped: errors.New("interrupted by a test"), want: reports.ExitUnjudged, says: "interrupted by a test"},
		"several, all passed":            {matrix: "iptables nftables", found: []reports.Cluster{one("iptables", passed), one("nftables", passed)}, codes: []int{0, 0}, files: []string{"matrix.md"}},
		"several, one could not be made": {matrix: "iptables nftables", found: []reports.Cluster{one("iptables", passed), {Name: "nftables", Interrupted: "no room"}}, codes: []int{0, 2}, want: reports.ExitUnjudged, files: []string{"matrix.md"}},
		"several, one failed":            {matrix: "iptables nftables", found: []reports.Cluster{one("iptables", failed), one("nftables", passed)}, codes: []int{1, 2}, want: reports.ExitFailed, files: []string{"matrix.md"}},
		"columns that share a cluster":   {matrix: "handlers", found: []reports.Cluster{one("runc", passed), one("crun", passed), one("runsc", passed)}, files: []string{"matrix.md", "runc/junit.xml", "runsc/report.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := requirement.Requirement{ID: "pod/a", Level: requirement.Must}
			r := New(requirement.Chapter{Name: "pod", Judged: requirement.PerHandler, Requirements: []requirement.Requirement{q}})
			r.config = Config{Matrix: c.matrix, Report: t.TempDir()}
			var err error
			r.columns, err = r.config.columns()
			require.NoError(t, err)
			ctx, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			if c.stopped != nil {
				stop(c.stopped)
			}
			r.ctx = ctx
			r.log, r.report = progress.New(true), reports.New("1a-2b", r.started)
			r.report.Clusters, r.codes, r.fatal = c.found, c.codes, c.fatal
			r.judging, r.judged = !c.notAsked, len(c.found) > 0
			require.Equal(t, c.want, r.finish(c.code))
			if c.notAsked {
				require.NoFileExists(t, filepath.Join(r.config.Report, reports.JSONFile))
				return
			}
			for _, file := range append(c.files, "junit.xml", "summary.txt") {
				require.FileExists(t, filepath.Join(r.config.Report, file))
			}
			if c.matrix == "" {
				require.NoFileExists(t, filepath.Join(r.config.Report, "matrix.md"))
			}
			f, err := os.Open(filepath.Join(r.config.Report, reports.JSONFile))
			require.NoError(t, err)
			defer f.Close()
			written, err := reports.ReadReport(f)
			require.NoError(t, err)
			require.Equal(t, c.says, written.Interrupted)
			require.Len(t, written.Clusters, max(1, len(c.found)))
			if len(c.found) == 0 {
				require.Equal(t, "not reached: no engine", written.Clusters[0].Results[0].Reason, "a row for everything")
			}
		})
	}
}
