package diagnose

import (
	"context"
	"fmt"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/requirement"
)

// lossWithin is how long a datagram of a size may take before it counts as lost, in milliseconds; each size is tried twice.
const lossWithin = 400

// Of a datagram's size, what is not its payload: the headers of UDP and IP.
const (
	headers4 = 8 + 20
	headers6 = 8 + 40
)

// sizes finds the longest datagram that arrives whole with DF, each way; "" where all do up to the interface's MTU.
func (w *walk) sizes(ctx context.Context, a, b *requirement.End) string {
	forth, back := w.longest(ctx, a, b), w.longest(ctx, b, a)
	if forth == "" && back == "" {
		return ""
	}
	return fmt.Sprintf("from %s to %s %s; back %s", a.Where(), b.Where(), orAll(forth), orAll(back))
}

func orAll(told string) string {
	if told == "" {
		return "datagrams of every size up to the interface's MTU arrive"
	}
	return told
}

// longest halves its way to the longest datagram that arrives; "" where that of the sender's MTU does, or it could not be looked at.
func (w *walk) longest(ctx context.Context, from, to *requirement.End) string {
	ip, ok := to.IP(w.env.Family)
	mtu := mtuOf(ctx, from)
	if !ok || mtu == 0 {
		return ""
	}
	port := w.env.Port(sourcePort)
	opened, err := to.Listen(ctx, wire.Listen{Network: "udp", Address: requirement.At(w.env.Any(), port), Behave: "digest"})
	if err != nil || !opened.Ok() {
		return ""
	}
	defer exchange.Release(ctx, to, opened.Handle)
	headers := headers4
	if ip.Is6() {
		headers = headers6
	}
	told := ""
	arrives := func(size int) bool {
		got, err := w.ask(ctx, from, wire.Connect{Network: "udp", Address: requirement.At(ip, port), Bytes: size - headers, DF: true, Digest: true,
			Count: 2, Parallel: 2, Timeout: lossWithin})
		if err == nil && got.Tally[wire.OK] == 0 && got.Seen[0].Class == wire.TooLong {
			told = ", and the sender is told so"
		}
		return err == nil && got.Tally[wire.OK] > 0
	}
	least := headers + small
	if arrives(mtu) || !arrives(least) {
		return ""
	}
	low, high := halve(ctx, least, mtu, arrives)
	line := fmt.Sprintf("datagrams of up to %d bytes with DF arrive, and of %d bytes and more are lost%s (MTU of the interface: %d)", low, high, told, mtu)
	w.note("%s to %s: %s", from.Where(), to.Where(), line)
	return line
}

// halve gives the longest that arrives and the shortest that does not, between one that does and one that does not.
func halve(ctx context.Context, low, high int, arrives func(int) bool) (longest, shortest int) {
	for high-low > 1 && ctx.Err() == nil {
		if middle := (low + high) / 2; arrives(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low, high
}

// mtuOf is the MTU of the interface that has the end's address; 0 where it is not known.
func mtuOf(ctx context.Context, end *requirement.End) int {
	id, err := end.Identity(ctx)
	if err != nil {
		return 0
	}
	for _, i := range id.Interfaces {
		for _, text := range i.Addrs {
			for _, ip := range end.IPs {
				if len(text) > len(ip.String()) && text[:len(ip.String())+1] == ip.String()+"/" {
					return i.MTU
				}
			}
		}
	}
	return 0
}
