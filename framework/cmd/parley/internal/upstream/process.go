package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// endGrace is how long a suite that was told to end may take to clean up: both remove what they made.
const endGrace = 2 * time.Minute

// execute runs a suite's program to its end, with its output in a file, and returns how long it took and its exit
// code. It ends with ctx, and with this process.
func execute(ctx context.Context, cmd *exec.Cmd, logFile string) (took time.Duration, code int, err error) {
	out, err := os.Create(logFile)
	if err != nil {
		return 0, 0, fmt.Errorf("making the log of a suite: %w", err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = endGrace
	// Pdeathsig is sent when the thread that started the program ends: so that one must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	started := time.Now()
	err = errors.Join(cmd.Run(), out.Close())
	took = time.Since(started)
	if ctx.Err() != nil {
		return took, 0, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return took, exit.ExitCode(), nil
	}
	if err != nil {
		return took, 0, fmt.Errorf("%s: %w; see %s", cmd.Path, err, logFile)
	}
	return took, 0, nil
}

// lastLine is the last line of a suite's output, and where the rest is.
func lastLine(logFile string) string {
	content, _ := os.ReadFile(logFile) // it is only quoted
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.TrimSpace(lines[len(lines)-1]) + " (all of it: " + logFile + ")"
}

// withoutParleyVariables is this process's environment without Parley's variables: they are meant for another cluster.
func withoutParleyVariables(environ []string) []string {
	var left []string
	for _, e := range environ {
		if !strings.HasPrefix(e, "PARLEY_") {
			left = append(left, e)
		}
	}
	return left
}
