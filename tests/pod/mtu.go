package pod

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// Bytes of headers before a datagram's payload.
const (
	udpHeaders4 = 20 + 8
	udpHeaders6 = 40 + 8
)

func mtu() requirement.Requirement {
	return requirement.Requirement{
		ID: "pod/mtu",
		Title: "A datagram of the pod interface's MTU with DF set crosses nodes, or its sender learns of the smaller path MTU and " +
			"what fits it arrives; TCP gets through in any case.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc1191#section-3",
			Says: "A router that cannot forward a datagram marked \"don't fragment\" tells its sender the MTU of the next hop; for IPv6, " +
				"RFC 8201 says the same. Nothing is to be lost without a word.",
		},
		Why: "A tunnel takes 20 to 80 bytes of each packet. Where the pod's interface does not allow for it and nobody says so, small " +
			"requests work and large ones hang: the fault that takes longest to find.",
		Needs:     []requirement.Feature{requirement.TwoNodes},
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.Far},
		PerFamily: true,
		Check:     checkMTU,
		Control: requirement.Control{
			Says: "a black hole for packets over 1200 bytes",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Far, fault.DropLonger(1200, "udp", "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
		MoreControls: []requirement.Control{
			{Says: "a black hole for TCP packets over 1200 bytes",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.Far, fault.DropLonger(1200, "tcp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}},
			{Says: "a black hole for datagrams over 1200 bytes in the other direction",
				Fault: &requirement.Fault{Points: []requirement.Point{fault.InPodOf(world.SiblingA, fault.DropLonger(1200, "udp"))}},
				Red:   []requirement.Reason{requirement.NoAnswer}},
		},
	}
}

func checkMTU(ctx context.Context, env *requirement.Env) error {
	a, b := env.Role(world.SiblingA), env.Role(world.Far)
	for i, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
		ip, err := env.IP(way.to)
		if err != nil {
			return err
		}
		own, err := env.IP(way.from)
		if err != nil {
			return err
		}
		device, err := fault.InterfaceOf(ctx, way.from, own)
		if err != nil {
			return err
		}
		if err := fits(ctx, env, way.from, way.to, netip.AddrPortFrom(ip, uint16(env.Port(i))), device); err != nil {
			return err
		}
		if _, err := exchange.Works(ctx, env, exchange.Talk{From: way.from, To: way.to, Network: "tcp", Bytes: 256 << 10, Digest: true,
			Bind: requirement.At(env.Any(), env.Port(i)), Dial: requirement.At(ip, env.Port(i))}); err != nil {
			return err
		}
	}
	return nil
}

// fits sends what fills the interface's MTU, and then what fills each smaller one that the way back told of.
func fits(ctx context.Context, env *requirement.Env, from, to *requirement.End, at netip.AddrPort, device wire.Interface) error {
	server, err := to.Listen(ctx, wire.Listen{Network: "udp", Address: requirement.At(env.Any(), int(at.Port())), Behave: "digest"})
	if err != nil {
		return fmt.Errorf("opening a server in %s: %w", to, err)
	}
	if !server.Ok() {
		return fmt.Errorf("%s cannot open a server: %s", to, server.Errno)
	}
	defer exchange.Release(ctx, to, server.Handle)
	headers := udpHeaders4
	if env.Family == corev1.IPv6Protocol {
		headers = udpHeaders6
	}
	target, size := at.String(), device.MTU
	err = env.Until(ctx, func(ctx context.Context) error {
		seen, err := exchange.Once(ctx, env, exchange.Talk{From: from, Network: "udp", Dial: target, Bytes: size - headers, Digest: true, DF: true})
		if err != nil {
			return err
		}
		told := seen.Class == wire.TooLong && seen.PathMTU > headers && seen.PathMTU < size
		switch {
		case seen.Ok():
			env.Note("%s: %s to %s: datagrams of %d bytes arrive whole (MTU of %s: %d)", env.Family, from.Where(), to.Where(), size, device.Name, device.MTU)
			return nil
		case told && env.Patience > 0:
			size = seen.PathMTU // the sender knows better now
		}
		f := &requirement.Failure{Reason: requirement.ReasonOf(seen.Errno), From: from, To: to, Target: target, Protocol: "udp",
			Expected: fmt.Sprintf("a datagram of %d bytes with DF to arrive, or word of a smaller MTU", size),
			Observed: fmt.Sprintf("%s at %s, neither", seen.Errno, seen.Step),
			Again:    fmt.Sprintf("ping -M do -s %d %s   (in the pod; then ip route get)", size-headers, at.Addr())}
		if seen.Step == wire.StepCompare {
			f.Final = requirement.ChangedIsFinal
		}
		if told {
			f.Observed = fmt.Sprintf("word of an MTU of %d, and nothing after it", seen.PathMTU)
		}
		return f
	})
	if f := requirement.AsFailure(err); f != nil && f.Reason == requirement.NoAnswer && env.Patience > 0 {
		f.FirstBrokenHop = longest(ctx, from, to, target, headers, size)
	}
	return err
}

// least is a size that every path takes, the minimum MTU of IPv4 hosts' reassembly (RFC 791); lossWithin is how long a
// datagram may take before it counts as lost.
const (
	least      = 576
	lossWithin = 300 * time.Millisecond
)

// longest halves its way to the longest datagram that arrives, and says it.
func longest(ctx context.Context, from, to *requirement.End, target string, headers, size int) string {
	arrives := func(size int) bool {
		got, err := from.Connect(ctx, wire.Connect{Network: "udp", Address: target, Bytes: size - headers, DF: true, Digest: true,
			Timeout: int(lossWithin / time.Millisecond)})
		return err == nil && len(got.Seen) == 1 && got.Seen[0].Ok()
	}
	if !arrives(least) {
		return "" // it is not about size: the ladder tells more
	}
	low, high := least, size
	for high-low > 1 {
		if middle := (low + high) / 2; arrives(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return fmt.Sprintf("from node %s to node %s: datagrams of up to %d bytes arrive, longer ones are lost without a word", from.Node, to.Node, low)
}

// fragmented is longer than any usual MTU but jumbo frames.
const fragmented = 8 << 10

// sizeMatters adds to a failure by silence that a small exchange passes there, where that is so. What was large is said by
// large.
func sizeMatters(ctx context.Context, env *requirement.Env, talk exchange.Talk, large string, err error) error {
	f := requirement.AsFailure(err)
	if f == nil || f.Reason != requirement.NoAnswer || env.Patience == 0 || ctx.Err() != nil {
		return err
	}
	talk.Bytes, talk.Within = 0, 0
	if _, small := exchange.Works(ctx, env, talk); small == nil {
		f.FirstBrokenHop = fmt.Sprintf("from node %s to node %s: 32 bytes pass on the same path and %s not; see pod/mtu and pod/udp-fragments",
			talk.From.Node, talk.To.Node, large)
	}
	return err
}

func udpFragments() requirement.Requirement {
	return requirement.Requirement{
		ID:    "pod/udp-fragments",
		Title: "A UDP datagram of 8 KiB crosses nodes and its answer comes back, each direction.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc1122#section-3.3.2",
			Says: "Hosts reassemble fragmented datagrams; for IPv6, RFC 8200, section 4.5, has the sender fragment and the receiver " +
				"reassemble. UDP allows 64 KiB less its headers.",
		},
		Why: "Large DNS answers, NFS over UDP, media and VPNs fragment. Fragments carry no ports, so filters, load balancing over several " +
			"paths and tunnels lose them where whole packets pass.",
		Needs:     []requirement.Feature{requirement.TwoNodes},
		PerNode:   true,
		Roles:     []world.Role{world.SiblingA, world.Far},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			a, b := env.Role(world.SiblingA), env.Role(world.Far)
			for i, way := range []struct{ from, to *requirement.End }{{a, b}, {b, a}} {
				ip, err := env.IP(way.to)
				if err != nil {
					return err
				}
				talk := exchange.Talk{From: way.from, To: way.to, Network: "udp", Bytes: fragmented,
					Bind: requirement.At(env.Any(), env.Port(i)), Dial: requirement.At(ip, env.Port(i))}
				if _, err := exchange.Works(ctx, env, talk); err != nil {
					return sizeMatters(ctx, env, talk, "a datagram in fragments does", err)
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "fragments dropped at the pod's interface",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Far, fault.DropFragments(world.SiblingA, world.Far)),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}
