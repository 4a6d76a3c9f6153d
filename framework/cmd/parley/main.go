// Command parley says what the suite asks of a cluster and why, what this host has for a run, brings the
// agent's image where a cluster can pull it, makes the node image ready, compares saved reports, and removes what runs
// left. The run itself is `go test ./tests/...`.
//
// It exits with 0, or with 2 and one sentence on standard error; diff also with 1, where something was lost.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/parley-k8s/parley/reports"
	"github.com/parley-k8s/parley/tests"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run carries out a command line and returns the exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	root := newRoot(tests.Chapters())
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return reports.ExitPassed
	}
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("interrupted")
	}
	fmt.Fprintln(errOut, "parley: "+sentence(err))
	return reports.ExitUnjudged
}

// sentence is an error on one line.
func sentence(err error) string {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}
