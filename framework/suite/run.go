package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/gotest"
	"github.com/parley-k8s/parley/framework/internal/lab"
	"github.com/parley-k8s/parley/framework/internal/matrix"
	"github.com/parley-k8s/parley/framework/internal/progress"
	"github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/framework/internal/stage"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// Run is one conformance run.
type Run struct {
	chapters []requirement.Chapter
	all      []requirement.Requirement // of the chapters
	config   Config
	id       runid.ID
	started  time.Time

	ctx context.Context // ends when the run is interrupted or its time is up
	log *progress.Log

	chosen    map[string]string     // requirement ID -> why the user left it out, "" for those that run
	proveOnly requirement.Selection // of those that run
	known     []reports.Known       // the user's
	columns   []axis.Column         // that are asked for

	// What there is of the cluster that this process judges: nil before it is made, and where each cluster has a process of its own.
	lab    *lab.Lab
	stage  *stage.Stage
	unlock func()

	report  *reports.Report
	codes   []int // how the processes of several clusters exited
	judging bool  // verdicts were asked for
	judged  bool  // there is something to show
	fatal   error // why nothing could be judged
}

// New is a run of the chapters' requirements.
func New(chapters ...requirement.Chapter) *Run {
	return &Run{chapters: chapters, all: requirement.AllOf(chapters), started: time.Now()}
}

var errTimeout = errors.New("go test's -timeout is about to end the run")

// Main is the test's TestMain: it reads the flags, has the tests run, and whatever happened removes what was
// made and writes the report. It returns an exit code: 0, every MUST passed;
// 1, something failed; 2, something could not be judged.
func (r *Run) Main(m *testing.M) int {
	if err := r.prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "parley: "+err.Error())
		return reports.ExitUnjudged
	}
	ctx, stop := context.WithCancelCause(context.Background())
	r.ctx = ctx
	defer stop(nil)
	matrix.FollowParent(stop)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	// Asked for, a reader of the progress that has gone ends no process: what was made could not be removed then.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		if s, ok := <-signals; ok {
			r.log.Say("interrupted (%s): removing what was made; this takes some seconds", s)
			stop(interruption(s))
		}
	}()
	if limit := gotest.Timeout(); limit > 0 {
		timer := time.AfterFunc(time.Until(r.started.Add(limit-matrix.CleanupReserve)), func() { stop(errTimeout) })
		defer timer.Stop()
	}
	code := m.Run()
	return r.finish(code)
}

// interruption is why a run ends that got a signal.
func interruption(s os.Signal) error {
	if matrix.IsChild() && s == syscall.SIGTERM { // Ctrl-C does not reach a child
		return matrix.ErrStopped
	}
	return fmt.Errorf("interrupted by %s", s)
}

// orInterrupted prefers the reason why the run was ended to what broke because of it.
func (r *Run) orInterrupted(err error) error {
	if cause := context.Cause(r.ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func (r *Run) prepare() error {
	if err := r.config.parse(); err != nil {
		return err
	}
	if err := requirement.ValidateChapters(r.chapters); err != nil {
		return err
	}
	var err error
	if r.chosen, err = r.config.chosen(r.all); err != nil {
		return err
	}
	if r.proveOnly, err = r.config.patterns("prove-only", r.config.ProveOnly, r.all); err != nil {
		return err
	}
	if r.columns, err = r.config.columns(); err != nil {
		return err
	}
	if r.known, err = r.config.knownDifferences(); err != nil {
		return err
	}
	if r.config.Report == "" {
		if r.config.Report, err = gotest.ReportDir(); err != nil {
			return err
		}
	}
	if r.id, err = runid.New(); err != nil {
		return err
	}
	r.report = reports.New(string(r.id), r.started)
	if host, err := os.Hostname(); err == nil {
		r.report.Host = host
	}
	r.log = progress.New(matrix.IsChild())
	return gotest.DivertLogs(r.config.Report)
}

var errFirstRound = errors.New("the first round could not begin")

// Test is the body of the entry's one test. Its first call judges everything, all rounds of go test's -count included; a further one
// says only what kept the first from it.
func (r *Run) Test(t *testing.T) {
	if err := gotest.NeverCached(); err != nil {
		t.Fatal(err)
	}
	if r.judging {
		if r.fatal != nil {
			t.Fatal(errFirstRound)
		}
		if cause := context.Cause(r.ctx); cause != nil {
			t.Fatal(cause)
		}
		return
	}
	r.judging = true
	defer func() {
		if p := recover(); p != nil { // what was made is removed, and the report written, all the same
			r.fatal = fmt.Errorf("the suite itself failed: %v\n%s", p, debug.Stack())
			t.Fatal(r.fatal)
		}
	}()
	if err := r.judge(t); err != nil {
		r.fatal = err
		t.Fatal(err)
	}
}
