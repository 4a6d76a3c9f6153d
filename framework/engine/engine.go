package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Engine is a container engine that answered.
type Engine struct {
	Name    string // docker, podman or nerdctl
	Path    string // of its command
	Version string // the server's, where there is one
	// Rootless engines run without the host's root: they give no access to its network.
	Rootless bool
	// CgroupVersion is 1 or 2, as the engine says; 0 where it does not.
	CgroupVersion int
	// Remote engines run their containers in another kernel than this process's (Docker Desktop, podman
	// machine, DOCKER_HOST).
	Remote bool

	env []string // what its commands need in their environment besides the process's own
	dir string   // the private configuration's folder; "" where there is none
}

// killGrace is how long a cancelled command may take to end, and its children may hold its output open, before it
// is killed.
const killGrace = 5 * time.Second

// Environ is what the engine's commands need in their environment besides the process's own, as
// "key=value": nothing on an ordinary host. kind's library runs the engine's command itself, with this
// process's environment, so whoever uses it sets these for the process.
func (e *Engine) Environ() []string { return append([]string(nil), e.env...) }

// Command is the engine's command with the private configuration's environment, ended when ctx is.
func (e *Engine) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.Path, args...)
	cmd.Env = append(os.Environ(), e.env...)
	// Asked to end first: an engine that is killed amid its bookkeeping leaves half of it behind.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killGrace
	return cmd
}

// Output runs the engine's command and returns what it wrote on standard output. An error carries the
// command and what it said on standard error.
func (e *Engine) Output(ctx context.Context, args ...string) (string, error) {
	cmd := e.Command(ctx, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), commandError(ctx, e.Name, args, errOut.String(), err)
	}
	return out.String(), nil
}

// Lines is Output split into its lines, without empty ones.
func (e *Engine) Lines(ctx context.Context, args ...string) ([]string, error) {
	out, err := e.Output(ctx, args...)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// Close removes the private configuration.
func (e *Engine) Close() error {
	if e.dir == "" {
		return nil
	}
	return os.RemoveAll(e.dir)
}

// maxStderr bounds how much of a command's standard error an error carries.
const maxStderr = 2000

func commandError(ctx context.Context, name string, args []string, stderr string, err error) error {
	if ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	var said []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		// podman warns about the host's other configuration on each command: not this command's error.
		if line != "" && !strings.Contains(line, "level=warning") {
			said = append(said, line)
		}
	}
	text := strings.Join(said, "; ")
	if len(text) > maxStderr {
		text = "..." + text[len(text)-maxStderr:]
	}
	if text == "" {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
}
