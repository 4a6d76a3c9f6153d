package probe_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/probebench"
	"github.com/parley-k8s/parley/framework/probe"
)

// BenchmarkConnectEcho measures real TCP connect-and-echo probes a second between two agents in this process.
// See package probebench for what it does and for the same between two pods.
func BenchmarkConnectEcho(b *testing.B) {
	server, client := localPair(b)
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	probebench.ConnectEcho(ctx, b, probebench.Pair{Client: client, Server: server, Host: "127.0.0.1"})
}

// BenchmarkRoundTrip measures requests and answers on one stream, with nothing probed.
func BenchmarkRoundTrip(b *testing.B) {
	_, client := localPair(b)
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	probebench.RoundTrip(ctx, b, client)
}

func localPair(b *testing.B) (server, client *probe.Agent) {
	agents := make([]*probe.Agent, 2)
	for i, name := range []string{"server", "client"} {
		d, end, err := probe.Local("a key")
		require.NoError(b, err)
		b.Cleanup(end)
		agents[i] = probe.New(name, d)
		b.Cleanup(func() { require.NoError(b, agents[i].Close()) })
	}
	return agents[0], agents[1]
}
