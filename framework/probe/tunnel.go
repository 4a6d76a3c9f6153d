package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// Tunnel opens a stream as a net.Conn, deadlines included: with a Dialer whose command is `agent relay PATH` it
// is a connection to that unix socket in the container, which a gRPC client can use. ctx bounds the opening.
func Tunnel(ctx context.Context, d Dialer) (net.Conn, error) {
	stream, err := d.Dial(ctx)
	if err != nil {
		return nil, err
	}
	ours, theirs := net.Pipe()
	t := &tunnel{Conn: ours}
	end := func(err error) {
		if err != nil && !errors.Is(err, io.EOF) {
			t.err.CompareAndSwap(nil, &err)
		}
		_ = theirs.Close()
		_ = stream.Close()
	}
	go func() {
		_, err := io.Copy(theirs, stream)
		end(err)
	}()
	go func() {
		_, err := io.Copy(stream, theirs)
		end(err)
	}()
	return t, nil
}

// tunnel is our end of the pipe; when it ends, Read says why the stream did.
type tunnel struct {
	net.Conn
	err atomic.Pointer[error]
}

func (t *tunnel) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if errors.Is(err, io.EOF) {
		if cause := t.err.Load(); cause != nil {
			err = *cause
		}
	}
	return n, err
}
