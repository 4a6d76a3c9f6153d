package suite

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/runid"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/reports"
)

// cleanupReserve is kept back of go test's own -timeout, so that the cluster is removed and the report
// written before go test panics.
const cleanupReserve = 75 * time.Second

// Run is one conformance run.
type Run struct {
	chapters []requirement.Chapter
	all      []requirement.Requirement // of the chapters
	config   Config
	id       runid.ID
	started  time.Time

	ctx      context.Context
	stop     context.CancelCauseFunc
	progress *progress

	mu     sync.Mutex
	report *reports.Report
	known  []reports.Known
	// shipped are the known differences of the OCI handlers that were judged so far.
	shipped []reports.Known
	chosen  map[string]string // requirement ID -> why it is left out, "" for those that run
	left    map[string]string // the same for the column that is judged
	lab     *lab              // nil until set up
	later   putOff            // of the column that is judged
	// proveOnly are the requirements of those that run that are to be proved.
	proveOnly requirement.Selection
	fatal     error // why nothing could be judged
	// judging is set once verdicts are asked for.
	judging bool
	round   int // that is judged, from 1: see rounds

	columns []axis.Column // the clusters that are asked for, and what shares one
	at      int           // the place of the column that is judged, of those that share this run's cluster
	shared  bool          // several columns share the cluster, each of which makes all rounds
	runs    []*columnRun  // of a matrix, in the order of its clusters
	endTurn func()        // ends a column's turn to be judged; nil before it has it
}

// New is a run of the chapters' requirements.
func New(chapters ...requirement.Chapter) *Run {
	return &Run{chapters: chapters, all: requirement.AllOf(chapters), started: time.Now()}
}

var errTimeout = errors.New("go test's -timeout is about to end the run")

// Main is the test's TestMain: it reads the flags, has the tests run, and whatever happened removes what was
// made and writes the report. It returns the exit code of design.md's three.
func (r *Run) Main(m *testing.M) int {
	if err := r.prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "parley: "+err.Error())
		return reports.ExitUnjudged
	}
	ctx, stop := context.WithCancelCause(context.Background())
	r.ctx, r.stop = ctx, stop
	defer stop(nil)
	r.followMatrix()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	// Asked for, a reader of the progress that has gone ends no process: what was made could not be removed then.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		if s, ok := <-signals; ok {
			r.progress.say("interrupted (%s): removing what was made; this takes some seconds", s)
			stop(interruption(s))
		}
	}()
	if limit := timeout(); limit > 0 {
		timer := time.AfterFunc(time.Until(r.started.Add(limit-cleanupReserve)), func() { stop(errTimeout) })
		defer timer.Stop()
	}
	code := m.Run()
	return r.finish(code)
}

// interruption is why a run ends that got a signal.
func interruption(s os.Signal) error {
	if isColumn() && s == syscall.SIGTERM { // Ctrl-C does not reach a column
		return errStopped
	}
	return fmt.Errorf("interrupted by %s", s)
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
	r.takeUp(0)
	r.shared = r.shares()
	if r.known, err = r.config.knownDifferences(); err != nil {
		return err
	}
	if r.config.Report == "" {
		if r.config.Report, err = defaultReportDir(); err != nil {
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
	r.progress = newProgress()
	return r.divertLogs()
}

// divertLogs keeps what the client libraries log out of the verdicts: it goes to a file beside them.
func (r *Run) divertLogs() error {
	if err := os.MkdirAll(r.config.Report, 0o755); err != nil {
		return reports.Unwritable(r.config.Report, err)
	}
	file, err := os.Create(filepath.Join(r.config.Report, clientLog))
	if err != nil {
		return reports.Unwritable(r.config.Report, err)
	}
	klog.LogToStderr(false)
	klog.SetOutput(file)
	options := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(options)
	return options.Set("stderrthreshold", "FATAL") // errors would go to both
}

// clientLog is the file in the report's folder that client-go and e2e-framework log to.
const clientLog = "client.log"

// timeout is go test's -timeout; 0 is none.
func timeout() time.Duration {
	f := flag.Lookup("test.timeout")
	if f == nil {
		return 0
	}
	d, err := time.ParseDuration(f.Value.String())
	if err != nil {
		return 0
	}
	return d
}

// neverCached keeps go test from answering for this run out of its cache: it caches a package that passed and
// whose inputs have not changed, and this one's input is a cluster. It never does so when a file of the module that
// the test opened is newer than two seconds, so one from tomorrow is opened.
func neverCached() error {
	dir, err := defaultReportDir()
	if err != nil {
		return err
	}
	name, tomorrow := filepath.Join(dir, ".newer-than-any-cache"), time.Now().Add(24*time.Hour)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(name, nil, 0o644), os.Chtimes(name, tomorrow, tomorrow)); err != nil {
		return fmt.Errorf("the folder of the reports can't be written, and without it go test might cache the run: %w", err)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return f.Close()
}

// Test is the body of the entry's one test.
func (r *Run) Test(t *testing.T) {
	if err := neverCached(); err != nil {
		t.Fatal(err)
	}
	r.judging = true
	switch {
	case r.round > 0 && r.fatal != nil:
		t.Fatal(errFirstRound)
	case r.round > 0 && context.Cause(r.ctx) != nil:
		t.Fatal(context.Cause(r.ctx)) // what the rounds before found stays in the report
	}
	r.begin()
	switch {
	case r.round > 1 && (r.isMatrix() || r.shared):
		return // each column has made all rounds
	case r.isMatrix():
		r.judgeColumns(t)
		return
	case r.round > 1:
		r.judgeAll(t)
		return
	}
	if err := r.ready(); err != nil {
		r.mu.Lock()
		r.fatal = err
		r.mu.Unlock()
		t.Fatal(err)
	}
	if r.shared {
		r.judgeShared(t)
		return
	}
	r.judgeAll(t)
	r.measure()
}

// ready sets up the cluster and waits for its turn to be judged, which lasts until the cluster is removed. The worlds of
// several columns come later, each when its column is judged.
func (r *Run) ready() error {
	if err := reports.Forget(r.config.Report); err != nil {
		return err
	}
	prepare := r.setUp
	if r.shared {
		prepare = r.raise
	}
	err := prepare(r.rolesNeeded())
	if err == nil {
		r.endTurn, err = r.takeTurn()
	}
	return err
}

// finish removes what was made, completes the report, writes it, and says how it went.
func (r *Run) finish(code int) int {
	interrupted := context.Cause(r.ctx)
	if r.lab != nil {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupReserve-10*time.Second)
		defer cancel()
		r.lab.tearDown(ctx)
	}
	if r.endTurn != nil {
		r.endTurn()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.judging && r.fatal == nil {
		return code // no verdict was asked for: -list, -bench, or -run for something else
	}
	switch {
	case interrupted != nil:
		r.report.Interrupted = interrupted.Error()
	case r.fatal != nil:
		r.report.Interrupted = r.fatal.Error()
	}
	if r.isMatrix() {
		return r.finishMatrix(code)
	}
	if r.shared {
		return r.finishShared(code)
	}
	if len(r.report.Clusters) == 0 {
		r.report.Clusters = []reports.Cluster{{Name: "none"}}
	}
	judged := r.completeResults(r.report.Interrupted)
	r.report.Ended = time.Now()
	r.report.MarkKnown(r.knownAll(), r.report.Ended)
	r.report.MarkWarnings(r.config.Strict)
	if err := reports.Save(r.config.Report, r.report); err != nil {
		r.progress.say("%s", err)
		code = max(code, reports.ExitUnjudged)
	}
	if len(judged) > 0 {
		r.progress.summary(r.report, r.config.Report)
	} else {
		r.progress.say("nothing was judged: %s", r.report.Interrupted)
	}
	verdict := r.report.ExitCode(r.config.Strict)
	if verdict == reports.ExitPassed && code != 0 {
		return code
	}
	return verdict
}
