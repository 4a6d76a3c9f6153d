package probe_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/fixtures/agent/control"
	"github.com/parley-k8s/parley/fixtures/agent/runkey"
	"github.com/parley-k8s/parley/fixtures/agent/serve"
	"github.com/parley-k8s/parley/framework/probe"
)

// dialTCP stands for `agent relay --to` in another pod.
type dialTCP string

func (d dialTCP) Dial(ctx context.Context) (io.ReadWriteCloser, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", string(d))
}

func TestAnAgentAnswersAtItsControlPort(t *testing.T) {
	suite, key := control.NewSuite(), runkey.New()
	agent := serve.New(key, serve.Limits{})
	defer agent.Close()
	on, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = control.Listener{Key: key, Name: "ns/pod/a", Client: suite.Public(), Agent: agent}.Serve(ctx, on)
	}()
	peer := probe.Peer{Suite: suite, Key: key, Name: "ns/pod/a"}
	a := probe.New("a", probe.Relayed(dialTCP(on.Addr().String()), peer))
	defer func() { _ = a.Close() }()
	bounded, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	who, err := a.Identity(bounded)
	require.NoError(t, err)
	require.NotEmpty(t, who.Hostname)

	peer.Name = "ns/pod/b"
	b := probe.New("b", probe.Relayed(dialTCP(on.Addr().String()), peer))
	defer func() { _ = b.Close() }()
	bounded, stop = context.WithTimeout(t.Context(), time.Second)
	defer stop()
	_, err = b.Identity(bounded)
	require.ErrorContains(t, err, `the agent that answers there is "ns/pod/a"`)
}
