package probe

import (
	"context"
	"fmt"
	"io"

	"github.com/parley-k8s/parley/fixtures/agent/control"
)

// Peer is an agent that is reached at its control port.
type Peer struct {
	Suite control.Suite // the run's suite
	Key   string        // the run's key
	Name  string        // the agent's
	// Path is a unix socket in the agent's container that the stream is to lead to; "" is the agent itself.
	Path string
}

// Relayed returns a Dialer whose streams go through another agent's container: sibling runs `agent relay --to ADDRESS:PORT` there, with
// the peer's control port. They are encrypted between this process and the peer. It rests on the network between the two pods.
func Relayed(sibling Dialer, p Peer) Dialer { return relayed{sibling, p} }

type relayed struct {
	sibling Dialer
	peer    Peer
}

func (r relayed) Dial(ctx context.Context) (io.ReadWriteCloser, error) {
	conn, err := Tunnel(ctx, r.sibling)
	if err != nil {
		return nil, fmt.Errorf("opening a relay to %s: %w", r.peer.Name, err)
	}
	stream, err := r.peer.Suite.Open(ctx, conn, r.peer.Key, r.peer.Name, r.peer.Path)
	if err != nil {
		_ = conn.Close() // the error says why
		return nil, err
	}
	return stream, nil
}
