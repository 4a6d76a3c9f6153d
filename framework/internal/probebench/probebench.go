// Package probebench measures how many probes a second the control channel and the agents carry. Its functions take
// the agents, so that the same measurement runs within a process and between two pods of a cluster.
//
// # Ports and conntrack
//
// A fast prober fills two tables of the kernel. A client has one local port per destination address and port at a
// time, out of net.ipv4.ip_local_port_range (28,232 by default), and a port whose connection it closed stays in
// TIME_WAIT for a minute: at 5,000 connections a second to one server port they are gone in six seconds. And every
// connection has an entry in conntrack (nf_conntrack_max, often 262,144), which outlives an orderly close by two
// minutes (nf_conntrack_tcp_timeout_time_wait): full in under a minute. So the agent closes by RST (SO_LINGER 0),
// after it has read the whole answer: the port is free at once, and the entry goes after
// nf_conntrack_tcp_timeout_close, 10 seconds: 50,000 entries at 5,000 a second. The connections are spread over
// several server ports besides, so that no two that follow each other have the same 4-tuple.
package probebench

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/probe"
)

const (
	serverPorts = 4   // of the server, over which connections are spread
	perRequest  = 250 // connections that one request to the agent asks for
	parallel    = 8   // of them at once, for each server port
)

// Pair is a client and a server, and the server's address as the client reaches it (a pod's IP).
type Pair struct {
	Client, Server *probe.Agent
	Host           string
}

// ConnectEcho makes b.N connections from the client to the server, each with an exchange that both ends observe:
// the client compares the echo, and the server's witness comes back with it. It reports probes/s, and fails
// where a single one fails.
func ConnectEcho(ctx context.Context, b *testing.B, p Pair) {
	b.Helper()
	addrs := make([]string, serverPorts)
	for i := range addrs {
		l, err := p.Server.Listen(ctx, wire.Listen{Network: "tcp", Address: net.JoinHostPort(p.Host, "0")})
		if err != nil || !l.Ok() {
			b.Fatalf("listening on %s: %v %s", p.Host, err, l.Errno)
		}
		addrs[i] = l.Local
		defer func() { _ = p.Server.Release(context.WithoutCancel(ctx), l.Handle) }()
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	failed := make(chan error, serverPorts)
	for i, addr := range addrs {
		n := b.N / serverPorts
		if i < b.N%serverPorts {
			n++
		}
		wg.Go(func() {
			if err := sweep(ctx, p.Client, addr, n); err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		b.Error(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "probes/s")
}

func sweep(ctx context.Context, client *probe.Agent, addr string, n int) error {
	for n > 0 {
		count := min(n, perRequest)
		got, err := client.Connect(ctx, wire.Connect{Network: "tcp", Address: addr, Count: count, Parallel: parallel, Timeout: 5000})
		if err != nil {
			return err
		}
		for _, x := range got.Seen {
			if !x.Ok() {
				return fmt.Errorf("%s to %s: %s: %s", x.Local, addr, x.Step, x.Errno)
			}
			// A proxy on the way would show: each end must see the other as it sees itself.
			if x.Witness.Remote != x.Local || x.Witness.Local != x.Remote {
				return fmt.Errorf("the client saw %s to %s, the server %s to %s", x.Local, x.Remote, x.Witness.Remote, x.Witness.Local)
			}
		}
		if len(got.Seen) != count {
			return fmt.Errorf("%d of %d connections were made", len(got.Seen), count)
		}
		n -= count
	}
	return nil
}

// RoundTrip makes b.N requests that do nothing but come back, hundreds at a time on the agent's one stream.
func RoundTrip(ctx context.Context, b *testing.B, a *probe.Agent) {
	b.Helper()
	b.ResetTimer()
	b.SetParallelism(256)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			// Closing what is not there is the cheapest thing that can be asked.
			if err := a.Do(ctx, wire.OpClose, wire.Close{Handle: "none"}, nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
