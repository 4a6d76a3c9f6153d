package nodeimage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// endGrace is how long a program that was told to end may take before it is killed.
const endGrace = 5 * time.Second

// tailWriter keeps the end of what a program writes, for an error, and reports each last line while the program runs.
type tailWriter struct {
	buf  bytes.Buffer
	line func(string)
}

// tailMax bounds what is kept of a program's output.
const tailMax = 4000

func (s *tailWriter) Write(p []byte) (int, error) {
	s.buf.Write(p)
	if n := s.buf.Len(); n > 2*tailMax {
		s.buf.Next(n - tailMax)
	}
	if lines := strings.Split(strings.TrimSpace(string(p)), "\n"); s.line != nil && lines[len(lines)-1] != "" {
		s.line(lines[len(lines)-1])
	}
	return len(p), nil
}

func (s *tailWriter) tail() string {
	text := strings.TrimSpace(s.buf.String())
	if len(text) > tailMax {
		text = "..." + text[len(text)-tailMax:]
	}
	return text
}

// endWithParent makes a program end with this process, however this one ends, and with ctx: its whole process group is
// told to end. isolate gives it mount and process namespaces of its own, so that the kernel removes its mounts
// and whatever it started (needs root).
func endWithParent(cmd *exec.Cmd, isolate bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	signal := syscall.SIGTERM
	if isolate {
		// Go makes the mounts private in a mount namespace that it unshares.
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
		signal = syscall.SIGKILL // the first process of a namespace ignores signals that it has no handler for
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, signal) }
	cmd.WaitDelay = endGrace
}

// command runs a program to its end and returns its standard output. line, where given, is told the last line of
// what it writes on standard error.
func command(ctx context.Context, cmd *exec.Cmd, isolate bool, line func(string)) (string, error) {
	endWithParent(cmd, isolate)
	// Pdeathsig is sent when the thread that started the program ends: so that one must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	errOut := &tailWriter{line: line}
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = errOut
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		text := errOut.tail()
		if text == "" {
			text = strings.TrimSpace(out.String())
		}
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, text)
	}
	return out.String(), nil
}

// environ is this process's environment with some variables set.
func environ(set ...string) []string { return append(os.Environ(), set...) }
