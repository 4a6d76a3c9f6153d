package service

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/exchange"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

func udpUnconnected() requirement.Requirement {
	return requirement.Requirement{
		ID: "service/udp-unconnected",
		Title: "A UDP client whose socket is not connected gets its answer from the cluster IP that it asked, whether the endpoint is on its " +
			"node or on another.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/reference/networking/virtual-ips/",
			Says: "Clients speak with the virtual IP and need not know of the endpoints behind it: the address that they asked is the one " +
				"that answers.",
		},
		Why: "Resolvers and games use such sockets and throw away what comes from another address. Data paths that translate in the socket " +
			"have other hooks for them than for connected ones, and an answer that goes past connection tracking keeps the endpoint's address.",
		PerNode:   true,
		Roles:     []world.Role{world.Near, world.OnlyNear},
		Wants:     []world.Role{world.OnlyFar},
		Services:  []world.Service{world.NearAlone, world.FarAlone},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			return along(env, func(client, server *requirement.End, ip netip.Addr) error {
				_, err := fromPort(ctx, env, 0, exchange.Talk{From: client, To: server, Network: "udp", Unconnected: true,
					Dial: requirement.At(ip, world.ServicePort)})
				return err
			}, localPath, remotePath)
		},
		Control: requirement.Control{
			Says: "answers hidden from the connection tracking that would translate them back",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.Near, fault.UntrackAnswers("udp", world.TargetPort)),
				fault.InPodOf(world.Near, fault.All(fault.UntrackAnswers("udp", world.TargetPort), redirectSelf)),
			}},
			Red: []requirement.Reason{requirement.Translated},
		},
	}
}

// redirectSelf translates to the endpoint within the client's own pod, for data paths that a node's netfilter never sees.
func redirectSelf(_ context.Context, env *requirement.Env) ([]wire.Rule, error) {
	vip, err := virtualIP(env, world.NearAlone)
	if err != nil {
		return nil, err
	}
	ip, err := env.IP(env.Role(world.OnlyNear))
	if err != nil {
		return nil, err
	}
	return []wire.Rule{{Hook: "output", Priority: fault.BeforeNAT, Proto: "udp", To: vip.String(), ToPort: world.ServicePort, FromPort: env.Port(0),
		Do: "dnat", Target: requirement.At(ip, world.TargetPort)}}, nil
}

// datagramBytes are more than any usual MTU.
const datagramBytes = 8 << 10

func udpFragments() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/udp-fragments",
		Title: "An 8 KiB datagram and its answer cross a ClusterIP, whether the endpoint is on the client's node or on another.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc4787#section-11",
			Says: "What translates UDP must take fragments in, in any order, and pass them on translated: only the first one carries the ports. " +
				"No document of Kubernetes says so.",
		},
		Why: "Large DNS answers, RADIUS, SIP and log datagrams come in fragments. A proxy that looks up ports per packet sends the first " +
			"fragment to the endpoint and loses the rest.",
		PerNode:   true,
		Roles:     []world.Role{world.Near, world.OnlyNear},
		Wants:     []world.Role{world.OnlyFar},
		Services:  []world.Service{world.NearAlone, world.FarAlone},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			return along(env, func(client, server *requirement.End, ip netip.Addr) error {
				_, err := fromPort(ctx, env, 0, exchange.Talk{From: client, To: server, Network: "udp", Bytes: datagramBytes,
					Dial: requirement.At(ip, world.ServicePort)})
				if f := requirement.AsFailure(err); f != nil {
					f.Expected += fmt.Sprintf(" to a datagram of %d bytes", datagramBytes)
				}
				return err
			}, localPath, remotePath)
		},
		Control: requirement.Control{
			Says: "fragments dropped as they reach the endpoint's pod",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.OnlyNear, fault.DropFragments(world.Near, world.OnlyNear)),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

const (
	// transferBytes go each way through the cluster IP: enough for full segments, large windows and offloads.
	transferBytes = 8 << 20
	// fullSegment is in bytes below every usual MTU, and more than what sets up a connection.
	fullSegment = 1200
)

func largeTransfer() requirement.Requirement {
	return requirement.Requirement{
		ID: "service/large-transfer",
		Title: "8 MiB each way over one TCP connection through a ClusterIP, or what a slow path carries in 20 seconds, arrive unchanged, from an endpoint " +
			"on the client's node or on another.",
		Level:  requirement.Must,
		Clause: virtualIPs,
		Why: "Small requests work long before large ones do. \"Fragmentation needed\" is about the endpoint's address and must be translated back " +
			"to be believed, and rewritten packets need their checksums rewritten, offloaded or not. A transfer is made once and its failure says how " +
			"many of its pieces arrived changed; nothing at all that passes for 10 seconds is a stall.",
		PerNode:   true,
		Roles:     []world.Role{world.Near, world.OnlyNear},
		Wants:     []world.Role{world.OnlyFar},
		Services:  []world.Service{world.NearAlone, world.FarAlone},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			return along(env, func(client, server *requirement.End, ip netip.Addr) error {
				talk := exchange.Talk{From: client, To: server, Network: "tcp", Dial: requirement.At(ip, world.ServicePort)}
				if err := serviceAnswers(ctx, env, talk); err != nil {
					return err
				}
				talk.Source = fmt.Sprintf(":%d", env.Port(0))
				done, err := exchange.Transfer(ctx, env, talk, transferBytes)
				if err == nil {
					env.Note("%s: %s to %s: %s", env.Family, client.Where(), server.Where(), done)
				}
				return err
			}, localPath, remotePath)
		},
		Control: requirement.Control{
			Says: "packets over 1200 bytes from the client dropped without a word",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.Near, fault.DropLongerFrom("prerouting", fullSegment, "tcp")),
				fault.InPodOf(world.Near, fault.DropLongerFrom("output", fullSegment, "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func sameSourcePort() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/same-source-port",
		Title: "A client uses two ClusterIP Services before one endpoint from one source port at the same time, over TCP.",
		Level: requirement.Should,
		Clause: requirement.Clause{
			URL: "https://www.rfc-editor.org/rfc/rfc9293#section-3.3.1",
			Says: "A connection is told from others by both its ends' addresses and ports, so one local port may have connections to two " +
				"destinations. That two of them become one address behind it is the translator's affair.",
		},
		Why: "After translation both connections have the same four numbers, and one has to get another source port. Connection tracking does so; " +
			"data paths that translate in the socket have no port to give, and the second connection fails, once in many thousands.",
		PerNode:   true,
		Roles:     []world.Role{world.Near, world.OnlyNear},
		Services:  []world.Service{world.NearAlone, world.PortsDeclared},
		PerFamily: true,
		Check: func(ctx context.Context, env *requirement.Env) error {
			client, server := env.Role(world.Near), env.Role(world.OnlyNear)
			for _, service := range []world.Service{world.NearAlone, world.PortsDeclared} {
				ip, err := virtualIP(env, service)
				if err != nil {
					return err
				}
				talk := exchange.Talk{From: client, To: server, Network: "tcp", Dial: requirement.At(ip, world.ServicePort)}
				if err := serviceAnswers(ctx, env, talk); err != nil {
					return err
				}
				talk.Source = fmt.Sprintf(":%d", env.Port(0))
				var seen wire.Exchange
				if err := env.Until(ctx, func(ctx context.Context) (err error) {
					seen, err = exchange.KeepOpen(ctx, env, talk)
					return err
				}); err != nil {
					return err
				}
				defer exchange.Release(ctx, client, seen.Handle)
				env.Note("%s: through %s the endpoint saw %s as %s", env.Family, service, seen.Local, seen.Witness.Remote)
			}
			return nil
		},
		Control: requirement.Control{
			Says: "what goes to the second of the two cluster IPs dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.OnNodeOf(world.Near, fault.DropToService("prerouting", world.PortsDeclared, "tcp")),
				fault.InPodOf(world.Near, fault.DropToService("output", world.PortsDeclared, "tcp")),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}
