package matrix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/reports"
)

// childLog is the file in a child's folder with what go test printed of its run.
const childLog = "test.log"

// child is the run of one column, or of several that share a cluster: this program again, as a process of its own.
type child struct {
	group axis.Group
	dir   string
	exit  int
	// report is what it found out, nil where it left none; trouble says why then.
	report  *reports.Report
	trouble string
}

// judge runs the child and waits until all that it made is removed. lock is the file of Lock; say is told its progress.
func (c *child) judge(ctx context.Context, lock string, left time.Duration, say func(string)) {
	if err := c.run(ctx, lock, left, say); err != nil {
		c.exit, c.trouble = reports.ExitUnjudged, err.Error()
	}
	f, err := os.Open(filepath.Join(c.dir, reports.JSONFile))
	if err == nil {
		c.report, err = reports.ReadReport(f)
		_ = f.Close()
	}
	if err != nil && c.trouble == "" {
		c.trouble = fmt.Sprintf("its run exited with %d and left no report; see %s", c.exit, filepath.Join(c.dir, childLog))
		c.exit = reports.ExitUnjudged
	}
}

func (c *child) run(ctx context.Context, lock string, left time.Duration, say func(string)) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return reports.Unwritable(c.dir, err)
	}
	if err := reports.Forget(c.dir); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(c.dir, childLog))
	if err != nil {
		return reports.Unwritable(c.dir, err)
	}
	defer log.Close()
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program to run it again: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, c.arguments(os.Args[1:], left)...)
	cmd.Env = append(os.Environ(), columnVariable+"="+c.group.Name(), lockVariable+"="+lock)
	cmd.Stdout = log
	lines := &lineWriter{each: say}
	cmd.Stderr = lines
	// Ctrl-C goes to a terminal's whole process group: the child hears of it from here, once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = CleanupReserve
	stdin, err := cmd.StdinPipe() // its end tells the child that this process has ended: see FollowParent
	if err != nil {
		return fmt.Errorf("running the column: %w", err)
	}
	defer stdin.Close()
	err = cmd.Run()
	lines.flush()
	var exited *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exited) && exited.Exited():
		c.exit = exited.ExitCode()
		return nil
	case ctx.Err() != nil && cmd.ProcessState != nil && cmd.ProcessState.Exited():
		c.exit = cmd.ProcessState.ExitCode()
		return nil
	}
	return fmt.Errorf("its run did not end by itself: %w", err)
}

// arguments are those of this run, with the columns' values put after them, where they count more.
func (c *child) arguments(own []string, left time.Duration) []string {
	args := append([]string{}, own...)
	args = append(args, "-test.testlogfile=", "-test.coverprofile=", "-test.v=true",
		"-test.outputdir="+c.dir, "-test.timeout="+left.String(), "-report="+c.dir, "-matrix=")
	for name, value := range c.group.Flags() {
		args = append(args, "-"+name+"="+value)
	}
	return args
}

// clusters are the columns' parts of the matrix's report.
func (c *child) clusters() (all []reports.Cluster) {
	for _, column := range c.group {
		all = append(all, c.cluster(column))
	}
	return all
}

// found is what the run's report has of the column. Of one that shares its cluster it is there by its name.
func (c *child) found(column axis.Column) (reports.Cluster, bool) {
	if c.report == nil {
		return reports.Cluster{}, false
	}
	i := 0
	if len(c.group) > 1 {
		i = slices.IndexFunc(c.report.Clusters, func(of reports.Cluster) bool { return of.Name == column.Name() })
	}
	if i < 0 || i >= len(c.report.Clusters) {
		return reports.Cluster{Interrupted: c.report.Interrupted}, false
	}
	of := c.report.Clusters[i]
	if len(c.group) == 1 {
		of.Interrupted = c.report.Interrupted
	}
	return of, true
}

func (c *child) cluster(column axis.Column) reports.Cluster {
	cluster, there := c.found(column)
	if cluster.Interrupted == "" {
		cluster.Interrupted = c.trouble
	}
	if !there && cluster.Interrupted == "" {
		cluster.Interrupted = "its run did not come to it; see " + filepath.Join(c.dir, childLog)
	}
	cluster.Results = slices.Clone(cluster.Results)
	for i := range cluster.Results {
		if f := cluster.Results[i].Failure; f != nil && f.Evidence != "" {
			told := *f
			told.Evidence = filepath.Join(filepath.Base(c.dir), f.Evidence) // it lies in the column's folder
			cluster.Results[i].Failure = &told
		}
	}
	cluster.Name, cluster.Values = column.Name(), column.Values()
	return cluster
}

// lineWriter hands on what is written to it line by line.
type lineWriter struct {
	mu   sync.Mutex
	rest bytes.Buffer
	each func(string)
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest.Write(b)
	for {
		line, rest, ok := bytes.Cut(w.rest.Bytes(), []byte{'\n'})
		if !ok {
			return len(b), nil
		}
		w.each(strings.TrimRight(string(line), "\r"))
		w.rest.Next(w.rest.Len() - len(rest))
	}
}

// flush hands on a last line that has no end.
func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rest.Len() > 0 {
		w.each(w.rest.String())
		w.rest.Reset()
	}
}
