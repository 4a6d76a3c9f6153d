package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// Environ are the environment variables that the engine's commands need besides the process's own, as
// "key=value": none on an ordinary host. kind's library runs the engine's command itself, with this
// process's environment, so whoever uses it sets these for the process.
func (e *Engine) Environ() []string { return append([]string(nil), e.env...) }

// Shim returns a folder with a command of the engine's name, to be put into PATH for libraries that run the engine by its
// name: it runs the engine in a session of its own, where Ctrl-C in a terminal does not reach it. It returns "" where none
// is needed: only podman, which has no daemon, leaves half-done work behind.
func (e *Engine) Shim() (string, error) {
	setsid, err := exec.LookPath("setsid")
	if e.Name != "podman" || e.dir == "" || err != nil {
		return "", nil
	}
	dir := filepath.Join(e.dir, "bin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the folder of podman's shim: %w", err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", setsid, e.Path)
	if err := os.WriteFile(filepath.Join(dir, e.Name), []byte(script), 0o700); err != nil {
		return "", fmt.Errorf("writing podman's shim: %w", err)
	}
	return dir, nil
}

// Command returns the engine's command with the environment of the private configuration. It is sent SIGTERM when ctx ends.
func (e *Engine) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.Path, args...)
	cmd.Env = append(os.Environ(), e.env...)
	// Asked to end first: an engine that is killed amid its bookkeeping leaves half of it behind.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killGrace
	setProcessGroup(cmd)
	return cmd
}

// Output runs the engine's command and returns its standard output. An error has the command and its standard error.
func (e *Engine) Output(ctx context.Context, args ...string) (string, error) {
	cmd := e.Command(ctx, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), commandError(ctx, e.Name, args, errOut.String(), err)
	}
	return out.String(), nil
}

// changeTimeout bounds a command that changes something once its ctx has ended.
const changeTimeout = time.Minute

// Change is Output for a command that changes the engine's state: it is not started when ctx has ended, and not
// interrupted when ctx ends while it runs, for a minute at most.
func (e *Engine) Change(ctx context.Context, args ...string) (string, error) {
	if ctx.Err() != nil {
		return "", commandError(ctx, e.Name, args, "", ctx.Err())
	}
	whole, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), changeTimeout, fmt.Errorf("not done within %s", changeTimeout))
	defer cancel()
	out, err := e.Output(whole, args...)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out, err
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
	var lines []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		// podman warns about the host's other configuration on each command: not this command's error.
		if line != "" && !strings.Contains(line, "level=warning") {
			lines = append(lines, line)
		}
	}
	text := strings.Join(lines, "; ")
	if len(text) > maxStderr {
		text = "..." + text[len(text)-maxStderr:]
	}
	if text == "" {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
}
