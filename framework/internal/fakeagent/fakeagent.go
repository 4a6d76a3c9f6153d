// Package fakeagent stands for an agent in tests: it answers what it is asked as the test says and does nothing.
package fakeagent

import (
	"context"
	"encoding/json"
	"io"
	"net"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// Answer is the result of one operation, of the type that the operation has in package wire.
type Answer func(op wire.Op, args json.RawMessage) (result any)

// Dial opens a stream to the agent. It makes an Answer a probe.Dialer.
func (a Answer) Dial(context.Context) (io.ReadWriteCloser, error) {
	ours, theirs := net.Pipe()
	go func() {
		_ = a.serve(theirs) // its end is seen at the other end of the pipe
		_ = theirs.Close()
	}()
	return ours, nil
}

// serve answers one stream until it ends.
func (a Answer) serve(stream io.ReadWriter) error {
	for {
		f, err := wire.ReadFrame(stream)
		if err != nil {
			return err
		}
		reply := wire.Frame{ID: f.ID}
		switch f.Kind {
		case wire.KindHello:
			reply.Kind, reply.Version, reply.Boot = wire.KindHello, wire.Version, "fake"
		case wire.KindRequest:
			reply.Kind = wire.KindAnswer
			if reply.Result, err = json.Marshal(a(f.Op, f.Args)); err != nil {
				return err
			}
		case wire.KindPing:
			reply.Kind = wire.KindPong
		case wire.KindBye:
			return nil
		default:
			continue
		}
		b, err := wire.AppendFrame(nil, &reply)
		if err != nil {
			return err
		}
		if _, err := stream.Write(b); err != nil {
			return err
		}
	}
}
