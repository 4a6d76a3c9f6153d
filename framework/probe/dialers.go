package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/serve"
)

// Dialer opens streams to one agent.
type Dialer interface {
	// Dial opens a stream. ctx bounds the opening, not the stream's life. A Dialer may return before the far end
	// has answered; then the first read fails where it does not.
	Dial(ctx context.Context) (io.ReadWriteCloser, error)
}

// Output reads a stream until it ends, at most limit bytes: with Exec or Command, the command's standard output.
func Output(ctx context.Context, d Dialer, limit int64) (string, error) {
	stream, err := d.Dial(ctx)
	if err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	defer stop()
	defer func() { _ = stream.Close() }() // all that it had to say was read, or the time was up
	text, err := io.ReadAll(io.LimitReader(stream, limit))
	return string(text), err
}

// Local starts an agent within this process and returns its Dialer, for tests and where this machine is the host outside the
// cluster. key is the run's, as of world.Plan. The function ends that agent and closes all that it has open.
func Local(key string) (Dialer, func(), error) {
	agent := serve.New(key, serve.Limits{})
	return localDialer{agent}, agent.Close, nil
}

type localDialer struct{ agent *serve.Agent }

func (d localDialer) Dial(context.Context) (io.ReadWriteCloser, error) {
	ours, theirs := net.Pipe()
	go func() { _ = d.agent.ServeStream(theirs) }() // its end is seen at our end of the pipe
	return ours, nil
}

// Command returns a Dialer whose stream is the stdin and stdout of a local process, for example
// `podman exec -i CONTAINER /agent relay`. env is added to this process's environment.
func Command(name string, args, env []string) Dialer {
	return commandDialer{name: name, args: args, env: env}
}

type commandDialer struct {
	name      string
	args, env []string
}

// stderrKept is how much of a relay's stderr is kept for the error that explains its end.
const stderrKept = 2 << 10

// quitTimeout is how long a relay may take to end after its stdin did.
const quitTimeout = 2 * time.Second

func (d commandDialer) Dial(ctx context.Context) (io.ReadWriteCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), d.name, d.args...) // it outlives the dial
	cmd.Env = append(os.Environ(), d.env...)
	p := &process{cmd: cmd, exited: make(chan struct{}), stderr: &tail{limit: stderrKept}}
	cmd.Stderr = p.stderr
	cmd.WaitDelay = quitTimeout
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// A pipe of our own: Wait closes the one that StdoutPipe makes, although it may not be read to its end.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.out, cmd.Stdout = r, w
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		_ = p.in.Close()
		return nil, fmt.Errorf("starting %s: %w", d.name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// process is a running relay.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *os.File
	stderr *tail
	exited chan struct{}
	err    error // of Wait, once exited is closed
	once   sync.Once
	closed atomic.Bool // by Close
}

// Write writes to the process's stdin; where that process has ended, the error says what it said.
func (p *process) Write(b []byte) (int, error) {
	n, err := p.in.Write(b)
	// Once the process has been waited for, its stdin is closed on this side too.
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) && !p.closed.Load() {
		err = p.ended(err)
	}
	return n, err
}

// Read reads the process's stdout; at its end the error says what the process said.
func (p *process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if errors.Is(err, io.EOF) {
		err = p.ended(err)
	}
	return n, err
}

// ended is the error of a pipe whose other end is gone, with what the process said before it ended, where it did.
func (p *process) ended(err error) error {
	select {
	case <-p.exited:
	case <-time.After(quitTimeout):
		return err
	}
	if text := p.stderr.String(); p.err != nil || text != "" {
		return fmt.Errorf("%s ended: %w", p.cmd.Path, errors.Join(p.err, textError(text)))
	}
	return err
}

// Close ends stdin, and the process where it does not end by that.
func (p *process) Close() error {
	p.once.Do(func() {
		p.closed.Store(true)
		_ = p.in.Close()
		_ = p.out.Close()
		go func() {
			select {
			case <-p.exited:
			case <-time.After(quitTimeout):
				_ = p.cmd.Process.Kill()
			}
		}()
	})
	return nil
}

func textError(s string) error {
	if s == "" {
		return nil
	}
	return errors.New(s)
}
