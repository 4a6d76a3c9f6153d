package probe_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/image"
	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/probe"
)

// built is the directory of the binary, once a test wanted it.
var built string

// binary builds the agent as the image has it, once.
var binary = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	b, err := image.Binary(ctx, runtime.GOARCH)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "parley-probe-test-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "agent")
	return path, os.WriteFile(path, b, 0o755)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// agentProcess is the real agent, with its real socket.
type agentProcess struct {
	path, socket string
	cmd          *exec.Cmd
	log          *bytes.Buffer
}

func startAgent(t *testing.T, attr *syscall.SysProcAttr, args ...string) *agentProcess {
	path, err := binary()
	require.NoError(t, err)
	p := &agentProcess{path: path, socket: filepath.Join(t.TempDir(), "agent.sock")}
	p.start(t, attr, args...)
	t.Cleanup(func() { p.kill() })
	return p
}

func (p *agentProcess) env() []string { return []string{"PARLEY_AGENT_SOCKET=" + p.socket} }

func (p *agentProcess) start(t *testing.T, attr *syscall.SysProcAttr, args ...string) {
	p.cmd = exec.Command(p.path, append([]string{"serve"}, args...)...)
	p.cmd.Env = p.env()
	p.cmd.SysProcAttr = attr
	p.log = new(bytes.Buffer)
	p.cmd.Stderr = p.log
	require.NoError(t, p.cmd.Start())
}

func (p *agentProcess) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *agentProcess) dialer() probe.Dialer {
	return probe.Command(p.path, []string{"relay"}, p.env())
}

func TestAgentProcessThroughItsRelay(t *testing.T) {
	ctx := testContext(t)
	p := startAgent(t, nil, "--listen", "tcp=127.0.0.1:0")
	a := newAgent(t, p.dialer())
	id, err := a.Identity(ctx)
	require.NoError(t, err)
	require.Equal(t, p.cmd.Process.Pid, id.PID)
	require.Less(t, id.Resident, int64(15<<20), "resident bytes when idle")

	l, err := a.Listen(ctx, wire.Listen{Network: "tcp", Address: "127.0.0.1:0"})
	require.NoError(t, err)
	got, err := a.Connect(ctx, wire.Connect{Network: "tcp", Address: l.Local, Count: 100, Parallel: 10, Timeout: 30_000})
	require.NoError(t, err)
	require.Equal(t, map[wire.Class]int{wire.OK: 100}, got.Tally)
	require.NoError(t, a.Release(ctx, l.Handle))
	require.Error(t, a.Release(ctx, l.Handle))

	// A crash while a request is under way, and another start on the same socket path.
	g := newGate(t)
	done := make(chan error, 1)
	go func() { _, err := a.Connect(ctx, g.connect()); done <- err }()
	<-g.came
	p.kill()
	p.start(t, nil)
	require.ErrorIs(t, <-done, probe.ErrRestarted)
	again, err := a.Identity(ctx)
	require.NoError(t, err)
	require.NotEqual(t, id.Boot, again.Boot)

	// SIGTERM ends it at once, and in order.
	start := time.Now()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait(), p.log.String())
	require.Less(t, time.Since(start), 10*time.Second)
}

func TestRelayThatFailsSaysWhy(t *testing.T) {
	path, err := binary()
	require.NoError(t, err)
	a := newAgent(t, probe.Command(path, []string{"relay", "/nowhere/agent.sock"}, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = a.Identity(ctx)
	require.ErrorIs(t, err, probe.ErrLost)
	require.ErrorContains(t, err, "/nowhere/agent.sock")
	a2 := newAgent(t, probe.Command("/nowhere/agent", nil, nil))
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = a2.Identity(ctx)
	require.ErrorContains(t, err, "/nowhere/agent")
}

func TestTunnelIsAConnection(t *testing.T) {
	path, err := binary()
	require.NoError(t, err)
	socket := filepath.Join(t.TempDir(), "echo.sock")
	ln, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
		}
	}()
	conn, err := probe.Tunnel(testContext(t), probe.Command(path, []string{"relay", socket}, nil))
	require.NoError(t, err)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() { _, _ = conn.Write(payload) }()
	got := make([]byte, len(payload))
	_, err = io.ReadFull(conn, got)
	require.NoError(t, err)
	require.Equal(t, payload, got)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	_, err = conn.Read(got)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "gRPC needs deadlines")
	require.NoError(t, conn.Close())

	failing, err := probe.Tunnel(testContext(t), probe.Command(path, []string{"relay", "/nowhere/cri.sock"}, nil))
	require.NoError(t, err)
	_, err = failing.Read(got)
	require.ErrorContains(t, err, "/nowhere/cri.sock")
}

// As PID 1 of a namespace the agent inherits processes whose parents ended, and must collect them.
func TestAgentReapsAsPID1(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("making a PID namespace and entering it needs root")
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		t.Skip("nsenter is not installed")
	}
	ctx := testContext(t)
	p := startAgent(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
	a := newAgent(t, p.dialer())
	id, err := a.Identity(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, id.PID)
	out, err := exec.CommandContext(ctx, nsenter, "-t", fmt.Sprint(p.cmd.Process.Pid), "-p", "sh", "-c", "for i in 1 2 3 4 5; do sleep 0.05 & done").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Eventually(t, func() bool {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.cmd.Process.Pid, p.cmd.Process.Pid))
		return err == nil && strings.TrimSpace(string(children)) == ""
	}, time.Minute, 20*time.Millisecond, "orphans are left as zombies")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait(), "PID 1 ends on SIGTERM too")
}

// Whichever of the two pipes is found closed first, the error has the relay's own words.
func TestAWriteToARelayThatEndedSaysWhy(t *testing.T) {
	stream, err := probe.Command("/bin/sh", []string{"-c", "echo no such socket >&2; exit 3"}, nil).Dial(t.Context())
	require.NoError(t, err)
	defer stream.Close()
	for err == nil { // what the pipe still takes is lost
		_, err = stream.Write([]byte("question"))
	}
	require.ErrorContains(t, err, "no such socket")
	require.ErrorContains(t, err, "exit status 3")
}
